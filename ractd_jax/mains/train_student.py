"""Stage 3: distils the teacher into a one-step student, towards high returns.

  python -m experiments.train_student --config=configs/hopper_medium_expert.py \
      --teacher=runs/teacher --reward=runs/reward --workdir=runs/student

With --config.student.reward_weight=0 no reward model is needed (CTD).
"""

from ractd_jax.mains import launch


def main():
    launch.train_stage("student")


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    launch.define_stage_flags()
    launch.run(main)
