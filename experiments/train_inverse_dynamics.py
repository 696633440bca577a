"""Trains inverse dynamics, the actions between the states of a plan.

  python -m experiments.train_inverse_dynamics \
      --config=configs/hopper_medium_expert.py --workdir=runs/inverse_dynamics
"""

from absl import flags

from experiments import launch
from ractd_jax.data.sources import load_resolved
from ractd_jax.training.loop import train
from ractd_jax.training.stages import inverse_dynamics_stage

FLAGS = flags.FLAGS


def main():
    settings, dataset = load_resolved(launch.settings_from_flags())
    stage = inverse_dynamics_stage(settings, dataset)
    train(
        stage,
        settings.run,
        settings.seed,
        FLAGS.workdir,
        FLAGS.allow_config_change,
    )


if __name__ == "__main__":
    launch.define_config_flags()
    launch.define_training_flags()
    launch.run(main)
