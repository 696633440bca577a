"""HalfCheetah-v5, medium-expert, on a dataset made on this machine.

  python -m experiments.pipeline --config=configs/halfcheetah_medium_expert.py \\
      --workdir=runs/halfcheetah-medium-expert
"""

from ractd_jax.presets import base


def get_config(preset: str = "cpu"):
    return base.get_locomotion("halfcheetah-medium-expert", preset)
