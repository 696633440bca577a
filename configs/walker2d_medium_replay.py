"""Walker2d-v5, medium-replay, on a dataset made on this machine.

  python -m experiments.pipeline --config=configs/walker2d_medium_replay.py \\
      --workdir=runs/walker2d-medium-replay
"""

from ractd_jax.presets import base


def get_config(preset: str = "cpu"):
    return base.get_locomotion("walker2d-medium-replay", preset)
