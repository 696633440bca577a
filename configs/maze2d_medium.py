"""D4RL's maze2d-medium protocol, on data recorded on this machine.

python -m experiments.maze_table --maze=medium --workdir=runs/maze
"""

from ractd_jax.presets import mazes


def get_config(preset: str = "cpu"):
    return mazes.get_maze2d("medium", preset)
