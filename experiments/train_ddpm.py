"""Trains a DDPM model on the teacher's plans, to compare samplers.

  python -m experiments.train_ddpm --config=configs/maze2d_medium.py \
      --workdir=runs/ddpm

Its planner takes --num_steps network evaluations: all of config.ddpm.num_timesteps
by ancestral sampling, fewer by DDIM.
"""

from absl import flags

from experiments import launch
from ractd_jax.data.sources import load_resolved
from ractd_jax.training.loop import train
from ractd_jax.training.stages import ddpm_stage

FLAGS = flags.FLAGS


def main():
    settings, dataset = load_resolved(launch.settings_from_flags())
    stage = ddpm_stage(settings, dataset)
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
