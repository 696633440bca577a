"""HalfCheetah-v5, medium-replay, on a dataset made on this machine.

  python -m experiments.pipeline --config=configs/halfcheetah_medium_replay.py \\
      --workdir=runs/halfcheetah-medium-replay
"""

from ractd_jax.presets import base


def get_config(preset: str = "cpu"):
    return base.get_locomotion("halfcheetah-medium-replay", preset)
