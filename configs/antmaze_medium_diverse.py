"""antmaze-medium-diverse, recorded here with an ant of our own; not D4RL's data.

python -m experiments.train --stage=teacher --config=configs/antmaze_medium_diverse.py \
    --workdir=runs/antmaze_medium_diverse/teacher
"""

from ractd_jax.presets import ant_mazes


def get_config(preset: str = "cpu"):
    return ant_mazes.get_ant_maze("medium-diverse", preset)
