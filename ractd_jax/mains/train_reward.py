"""Stage 2: trains the reward models.

  python -m experiments.train_reward --config=configs/hopper_medium_expert.py \
      --workdir=runs/reward
"""

from ractd_jax.mains import launch


def main():
    launch.train_stage("reward")


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    launch.define_stage_flags()
    launch.run(main)
