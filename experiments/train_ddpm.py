"""Trains a DDPM model on the teacher's plans, to compare samplers.

  python -m experiments.train_ddpm --config=configs/maze2d_medium.py \
      --workdir=runs/ddpm

Its planner takes --num_steps network evaluations: all of config.ddpm.num_timesteps
by ancestral sampling, fewer by DDIM.
"""

from experiments import launch


def main():
    launch.train_stage("ddpm")


if __name__ == "__main__":
    launch.define_config_flags()
    launch.define_training_flags()
    launch.run(main)
