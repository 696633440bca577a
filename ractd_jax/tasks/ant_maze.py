"""An ant in a maze: gymnasium-robotics' AntMaze, and D4RL's protocol.

A state is the 15 positions and 14 velocities of the ant, x and y first; a goal is
(x, y), in metres. The environments are in :mod:`ractd_jax.tasks.d4rl_ant_maze`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from ractd_jax.tasks.base import Reference, Task, d4rl_reference
from ractd_jax.tasks.markers import add_markers

if TYPE_CHECKING:
    from ractd_jax.tasks.maze_map import MazeMap

# D4RL's protocol: the goal is not shown, and ends the episode.
ANT_MAZES = {
    "umaze": "ractd/AntMaze-UMaze-v0",
    "medium": "ractd/AntMaze-Medium-v0",
    "large": "ractd/AntMaze-Large-v0",
}
# What is recorded in them, see ractd_jax.recording.ant_maze.
RECORDED = (
    *("umaze", "umaze-diverse"),
    *("medium-play", "medium-diverse"),
    *("large-play", "large-diverse"),
)
# The ant that is told where to walk, on a plane.
DIRECTION = "ractd/AntDirection-v0"
CELL = 4.0  # m
START_CELL = (1, 1)  # the origin of D4RL's plane
NUM_POSITIONS, NUM_VELOCITIES = 15, 14
STATE_SIZE = NUM_POSITIONS + NUM_VELOCITIES
# Height, orientation and joints of an ant that stands still.
_STANDING = (0.59, 1.0, 0.0, 0.0, 0.0, 0.0, 1.05, 0.0, -1.05, 0.0, -1.05, 0.0, 1.05)
# The suffixes change goals and rewards, and no wall.
_ID = re.compile(
    r"(ractd/AntMaze-|AntMaze_)(UMaze|Medium|Large)(_Diverse_GR?)?(Dense)?-v\d+"
)


def d4rl_map(name: str) -> MazeMap:
    """D4RL's maze for ants: the origin is the start, y grows with the rows.

    Args:
      name: one of :data:`ANT_MAZES`.

    Raises:
      ConfigError: an unknown maze, or gymnasium-robotics is not installed.
    """
    from ractd_jax.tasks.maze_map import maze_map

    return maze_map(name)._replace(scale=(CELL, CELL), origin=START_CELL)


def robotics_map(name: str) -> MazeMap:
    """Gymnasium-robotics' maze for ants: the origin is its middle, row 0 at the top.

    Raises:
      ConfigError: see :func:`d4rl_map`.
    """
    from ractd_jax.tasks.maze_map import maze_map

    return maze_map(name)._replace(scale=(CELL, -CELL))


class AntDirection(Task):
    """Rewarded at every step for walking in the direction that is shown."""

    name = "ant_direction"
    pattern = r"ractd/AntDirection-v0"

    def register_ids(self) -> None:
        from ractd_jax.tasks.d4rl_ant import register_direction

        register_direction()


class AntMaze(Task):
    """Gymnasium-robotics' ids; their Dict becomes a state by the rule ``maze``."""

    name = "ant_maze"
    pattern = r"AntMaze_.*"
    num_places = 2
    _map = staticmethod(robotics_map)

    def reference(self, environment_id: str) -> Reference | None:
        """0 and 1 where an arrival is paid; None where the distance is."""
        dense = re.search(r"Dense-v\d+", environment_id)
        return None if dense else d4rl_reference("antmaze")

    def goal_state(self, goals, state_size: int):
        """[..., O] an ant that stands at `goals` [..., 2]; parts of one if O < 29."""
        pad = [(0, 0)] * (goals.ndim - 1)
        states = jnp.pad(goals, [*pad, (0, state_size - goals.shape[-1])])
        return states.at[..., 2:NUM_POSITIONS].set(_standing(state_size))

    def arrive(self, states, arrived, goal_size: int):
        """`states` [..., O], standing where `arrived` [...] says that they arrived."""
        standing = np.zeros(states.shape[-1], np.float32)
        standing[2:NUM_POSITIONS] = _standing(states.shape[-1])
        moved = arrived[..., None] & (np.arange(states.shape[-1]) >= goal_size)
        return jnp.where(moved, standing, states)

    def velocity(self, states):
        """[..., 2] of the torso along x and y."""
        return states[..., NUM_POSITIONS : NUM_POSITIONS + 2]

    def maze(self, environment_id: str) -> MazeMap | None:
        match = _ID.fullmatch(environment_id)
        return self._map(match[2].lower()) if match else None

    def mark(self, env, positions) -> None:
        # Of D4RL's protocol, or of gymnasium-robotics'.
        ant = getattr(env.unwrapped, "ant", None) or env.unwrapped.ant_env
        add_markers(ant, positions, radius=0.2, height=0.5)


class D4RLAntMaze(AntMaze):
    """D4RL's ant, starts and goals; an arrival pays 1 and ends the episode."""

    name = "d4rl_ant_maze"
    pattern = r"ractd/AntMaze-(UMaze|Medium|Large)-v0"
    _map = staticmethod(d4rl_map)

    def register_ids(self) -> None:
        from ractd_jax.tasks.d4rl_ant_maze import register_ant_mazes

        register_ant_mazes()

    def reference(self, environment_id: str) -> Reference:
        return d4rl_reference("antmaze", replaces=True)


def _standing(state_size: int) -> np.ndarray:
    """The part of a standing ant behind x and y that a state of this size holds."""
    return np.array(_STANDING[: max(state_size - 2, 0)], np.float32)
