"""antmaze-umaze-diverse, recorded here with an ant of our own; not D4RL's data.

python -m experiments.train --stage=teacher --config=configs/antmaze_umaze_diverse.py \
    --workdir=runs/antmaze_umaze_diverse/teacher
"""

from ractd_jax.presets import ant_mazes


def get_config(preset: str = "cpu"):
    return ant_mazes.get_ant_maze("umaze-diverse", preset)
