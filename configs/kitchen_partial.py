"""kitchen-partial, recorded here from D4RL's demonstrations; not D4RL's own.

python -m experiments.pipeline --config=configs/kitchen_partial.py \
    --workdir=runs/kitchen --config.dataset.demonstrations=FILE
"""

from ractd_jax.presets import kitchen


def get_config(preset: str = "cpu"):
    return kitchen.get_kitchen("partial", preset)
