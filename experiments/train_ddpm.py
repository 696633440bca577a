"""Trains a DDPM model on the teacher's plans, to compare samplers.

  python -m experiments.train_ddpm --config=configs/maze2d_medium.py \
      --workdir=runs/ddpm

Its planner takes --num_steps network evaluations: all of config.ddpm.num_timesteps
by ancestral sampling, fewer by DDIM.
"""

import functools

from experiments import launch
from ractd_jax.training.stages import plan_stage


def main():
    launch.train_stage(functools.partial(plan_stage, "ddpm"))


if __name__ == "__main__":
    launch.define_config_flags()
    launch.define_training_flags()
    launch.run(main)
