"""antmaze-umaze, recorded here with an ant of our own; not D4RL's data.

python -m experiments.train --stage=teacher --config=configs/antmaze_umaze.py \
    --workdir=runs/antmaze_umaze/teacher
"""

from ractd_jax.presets import ant_mazes


def get_config(preset: str = "cpu"):
    return ant_mazes.get_ant_maze("umaze", preset)
