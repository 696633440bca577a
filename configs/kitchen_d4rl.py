"""D4RL's own file of a kitchen task, as it is.

python -m experiments.pipeline --config=configs/kitchen_d4rl.py \
    --workdir=runs/kitchen --config.dataset.path=FILE
"""

from ractd_jax.presets import kitchen


def get_config(preset: str = "cpu"):
    return kitchen.get_kitchen("d4rl", preset)
