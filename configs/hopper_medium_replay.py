"""Hopper-v5, medium-replay, on a dataset made on this machine.

  python -m experiments.pipeline --config=configs/hopper_medium_replay.py \\
      --workdir=runs/hopper-medium-replay
"""

from ractd_jax.presets import base


def get_config(preset: str = "cpu"):
    return base.get_locomotion("hopper-medium-replay", preset)
