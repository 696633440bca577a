"""Stage 2: trains the reward models.

  python -m experiments.train_reward --config=configs/hopper_medium_expert.py \
      --workdir=runs/reward
"""

from absl import flags

from experiments import launch
from ractd_jax.data.sources import load_resolved
from ractd_jax.training.loop import train
from ractd_jax.training.stages import reward_stage

FLAGS = flags.FLAGS


def main():
    settings, dataset = load_resolved(launch.settings_from_flags())
    stage = reward_stage(settings, dataset)
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
