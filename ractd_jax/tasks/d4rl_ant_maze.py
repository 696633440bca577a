"""D4RL's antmaze protocol (Fu et al. 2020), its -v2, with Gymnasium's MuJoCo.

An ant starts in one corner of a maze and is paid once, on arriving at a goal that it is
not shown. Positions are D4RL's, so that its files fit. docs/data.md lists the
differences.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from ractd_jax.errors import ConfigError
from ractd_jax.tasks.ant_maze import ANT_MAZES, CELL, STATE_SIZE, d4rl_map
from ractd_jax.tasks.d4rl_ant import make_ant
from ractd_jax.tasks.maze_map import (
    MazeMap,
    check_free,
    is_within,
    register_mazes,
)

GOAL_CELLS = {"umaze": (3, 1), "medium": (6, 6), "large": (7, 9)}
TIME_LIMITS = {"umaze": 700, "medium": 1000, "large": 1000}
GOAL_RADIUS = 0.5  # m, pays 1
# A goal is off its cell's centre, towards higher x and y, by a sum of two draws.
_GOAL_NOISES = (1.0, 0.5)  # m, from 0 to these
_WALL_HEIGHT = 2.0  # m


def register_ant_mazes() -> None:
    """Makes the ids of :data:`ANT_MAZES` known to Gymnasium; once is enough."""
    register_mazes(ANT_MAZES, f"{__name__}:AntMaze", TIME_LIMITS)


def has_arrived(positions: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """[...] bool, whether `positions` [..., 2] lie within 0.5 m of `goal` [2]."""
    return is_within(positions, goal, GOAL_RADIUS)


def draw_goal(maze: MazeMap, cell, rng: np.random.Generator) -> np.ndarray:
    """[2] D4RL's goal in a cell: up to 1.5 m off its centre along both axes."""
    noise = sum(rng.uniform(0.0, most, 2) for most in _GOAL_NOISES)
    return maze.cell_to_xy(np.asarray(cell)) + noise


def _camera(maze: MazeMap) -> dict[str, Any]:
    """MuJoCo's options of a camera that looks down on a maze, y upwards."""
    left, right, bottom, top = maze.extent
    return {
        "lookat": np.array([(left + right) / 2, (bottom + top) / 2, 0.0]),
        "distance": 1.25 * max(right - left, top - bottom),
        "azimuth": 90.0,
        "elevation": -89.0,
    }


class AntMaze(gymnasium.Env):
    """D4RL's ant in a maze of cells of 4 m.

    Observations [29] float64: 15 positions (x, y, height, orientation, joints; m and
    rad) and 14 velocities. Actions [8] in [-1, 1] are torques, held for 0.1 s. The step
    that ends within 0.5 m of :attr:`goal` pays 1 and terminates; a fall does not.

    Args:
      maze: ``umaze``, ``medium`` or ``large``.
      render_mode: ``rgb_array``, or None for no pictures.

    Raises:
      ConfigError: an unknown maze, or gymnasium-robotics is not installed.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, maze: str, render_mode: str | None = None):
        self.render_mode = render_mode
        self.maze = d4rl_map(maze)
        self._goal_cell = GOAL_CELLS[maze]
        self.goal = self.maze.cell_to_xy(np.asarray(self._goal_cell))
        blocks = self.maze.cell_to_xy(np.argwhere(self.maze.walls)).tolist()
        half = CELL / 2, CELL / 2, _WALL_HEIGHT / 2
        self.ant = make_ant(
            render_mode,
            [(*block, *half) for block in blocks],
            # A free camera above the whole maze.
            camera_id=-1,
            default_camera_config=_camera(self.maze),
        )
        self._plain_start = self.ant.init_qpos[:2].copy()
        self.action_space = self.ant.action_space
        self.observation_space = Box(-np.inf, np.inf, (STATE_SIZE,), np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """An ant at the start with noise of 0.1 on all positions, and a new goal.

        Args:
          seed: of all starts and goals from here on.
          options: ``start`` and ``goal``, each (x, y) in metres, for this episode; the
            start gets the same noise, the goal none.

        Raises:
          ConfigError: another option, or a position in a wall or outside the maze.
        """
        super().reset(seed=seed)
        options = options or {}
        if unknown := sorted(options.keys() - {"start", "goal"}):
            raise ConfigError(f"options: expected start or goal, found {unknown}")
        chosen = {key: check_free(self.maze, xy, key) for key, xy in options.items()}
        goal = draw_goal(self.maze, self._goal_cell, self.np_random)
        self.goal = chosen.get("goal", goal)
        self.ant.init_qpos[:2] = chosen.get("start", self._plain_start)
        # Not the seed itself: the ant's noise would be that of the goal.
        state, _ = self.ant.reset(seed=int(self.np_random.integers(2**31)))
        return state, {}

    def step(
        self, action: np.ndarray
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Moves for 0.1 s; the position afterwards decides the reward."""
        state, *_ = self.ant.step(action)
        arrived = bool(has_arrived(state[:2], self.goal))
        return state, float(arrived), arrived, False, {"success": arrived}

    def render(self) -> np.ndarray | None:
        return self.ant.render()

    def close(self) -> None:
        self.ant.close()
