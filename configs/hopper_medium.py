"""Hopper-v5, medium, on a dataset made on this machine.

  python -m experiments.pipeline --config=configs/hopper_medium.py \\
      --workdir=runs/hopper-medium
"""

from ractd_jax.presets import base


def get_config(preset: str = "cpu"):
    return base.get_locomotion("hopper-medium", preset)
