"""A ball in a maze: gymnasium-robotics' PointMaze, and D4RL's maze2d protocol in it.

A state is (x, y, vx, vy), a goal (x, y), in metres and metres per second.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from ractd_jax.tasks.base import Reference, Task, d4rl_reference, id_name
from ractd_jax.tasks.markers import add_markers

if TYPE_CHECKING:
    from ractd_jax.tasks.maze_map import MazeMap

MAZES = {
    "umaze": "PointMaze_UMaze-v3",
    "medium": "PointMaze_Medium-v3",
    "large": "PointMaze_Large-v3",
}
# D4RL's protocol in the same mazes: ractd_jax.tasks.maze2d.
MAZE2D = {
    "umaze": "ractd/Maze2d-UMaze-v0",
    "medium": "ractd/Maze2d-Medium-v0",
    "large": "ractd/Maze2d-Large-v0",
}
# The suffixes change goals and rewards, and no wall.
_ID = re.compile(
    r"(ractd/Maze2d-|PointMaze_)(UMaze|Medium|Large)(_Diverse_GR?)?(Dense)?-v\d+"
)


def maze_of_environment(environment_id: str) -> str | None:
    """Which of :data:`MAZES` a Gymnasium id plays in; None of other environments."""
    match = _ID.fullmatch(environment_id)
    return match[2].lower() if match else None


def _ball(env):
    """The ball's simulation in either maze environment."""
    maze = env.unwrapped
    return getattr(maze, "point_env", maze)


class PointMaze(Task):
    """The goal stays where it is, or is replaced on arrival, as the id says."""

    name = "point_maze"
    pattern = r"PointMaze_.*"

    def maze(self, environment_id: str) -> MazeMap | None:
        name = maze_of_environment(environment_id)
        if name is None:
            return None
        from ractd_jax.tasks.maze_map import maze_map

        return maze_map(name)

    def mark(self, env, positions) -> None:
        add_markers(_ball(env), positions, radius=0.05, height=0.1)

    def show(self, env, observation, place):
        state = np.asarray(observation, np.float64)
        _ball(env).set_state(state[:2], state[2:4])
        return place


class Maze2d(PointMaze):
    """One goal for each maze, and D4RL's scores, whatever the data's rewards were."""

    name = "maze2d"
    pattern = r"ractd/Maze2d-(UMaze|Medium|Large)-v0"

    def register_ids(self) -> None:
        from ractd_jax.tasks.maze2d import register_maze2d

        register_maze2d()

    def reference(self, environment_id: str) -> Reference:
        return d4rl_reference(id_name(environment_id).lower(), replaces=True)
