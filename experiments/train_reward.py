"""Stage 2: trains the reward models.

  python -m experiments.train_reward --config=configs/hopper_medium_expert.py \
      --workdir=runs/reward
"""

from experiments import launch


def main():
    launch.train_stage("reward")


if __name__ == "__main__":
    launch.define_stage_flags()
    launch.run(main)
