"""Stage 1: trains the EDM teacher.

  python -m experiments.train_teacher --config=configs/hopper_medium_expert.py \
      --workdir=runs/teacher
"""

from ractd_jax.mains import launch


def main():
    launch.train_stage("teacher")


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    launch.define_stage_flags()
    launch.run(main)
