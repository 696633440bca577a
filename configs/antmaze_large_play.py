"""antmaze-large-play, recorded here with an ant of our own; not D4RL's data.

python -m experiments.train --stage=teacher --config=configs/antmaze_large_play.py \
    --workdir=runs/antmaze_large_play/teacher
"""

from ractd_jax.presets import ant_mazes


def get_config(preset: str = "cpu"):
    return ant_mazes.get_ant_maze("large-play", preset)
