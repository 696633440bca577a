"""Trains inverse dynamics, the actions between the states of a plan.

  python -m experiments.train_inverse_dynamics \
      --config=configs/hopper_medium_expert.py --workdir=runs/inverse_dynamics
"""

from experiments import launch


def main():
    launch.train_stage("inverse_dynamics")


if __name__ == "__main__":
    launch.define_config_flags()
    launch.define_training_flags()
    launch.run(main)
