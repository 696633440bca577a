"""Stage 1: trains the EDM teacher.

  python -m experiments.train_teacher --config=configs/hopper_medium_expert.py \
      --workdir=runs/teacher
"""

from experiments import launch


def main():
    launch.train_stage("teacher")


if __name__ == "__main__":
    launch.define_stage_flags()
    launch.run(main)
