"""Walker2d-v5, medium-expert, on a dataset made on this machine.

  python -m experiments.pipeline --config=configs/walker2d_medium_expert.py \\
      --workdir=runs/walker2d-medium-expert
"""

from ractd_jax.presets import base


def get_config(preset: str = "cpu"):
    return base.get_locomotion("walker2d-medium-expert", preset)
