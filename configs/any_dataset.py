"""Any dataset: a Minari id, or files in a layout that docs/data.md lists.

  python -m experiments.pipeline --config=configs/any_dataset.py \\
      --workdir=runs/pen --config.task=pen --config.dataset.id=D4RL/pen/human-v2

  python -m experiments.pipeline --config=configs/any_dataset.py \\
      --workdir=runs/hopper --config.task=hopper-medium-v2 \\
      --config.dataset.source=d4rl \\
      --config.dataset.path=hopper_medium-v2.hdf5

The environment and its reference returns are those that the dataset names, unless
--config.environment.id, .score_min and .score_max say otherwise.
"""

from ractd_jax.presets import base


def get_config(preset: str = "cpu"):
    return base.get_any(preset)
