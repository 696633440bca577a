"""Behaviour cloning, the baseline: regresses plans on observations.

  python -m experiments.train_bc --config=configs/hopper_medium_replay.py \
      --config.dataset.weighting=top --workdir=runs/bc

With config.dataset.weighting=top it learns from the best episodes only (percentile
behaviour cloning), with uniform from all.
"""

from experiments import launch


def main():
    launch.train_stage("bc")


if __name__ == "__main__":
    launch.define_config_flags()
    launch.define_training_flags()
    launch.run(main)
