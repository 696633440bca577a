"""Stage 1: trains the EDM teacher.

  python -m experiments.train_teacher --config=configs/hopper_medium_expert.py \
      --workdir=runs/teacher
"""

import functools

from experiments import launch
from ractd_jax.training.stages import plan_stage


def main():
    launch.train_stage(functools.partial(plan_stage, "teacher"))


if __name__ == "__main__":
    launch.define_config_flags()
    launch.define_training_flags()
    launch.run(main)
