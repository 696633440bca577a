"""D4RL's maze2d protocol (Fu et al. 2020) with gymnasium-robotics' PointMaze ball.

Each maze has one goal, starts are anywhere, every step that ends near the goal pays 1,
and only the time limit ends an episode. docs/data.md lists the differences from D4RL's
environment.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from ractd_jax.errors import ConfigError
from ractd_jax.tasks.maze_map import (
    check_free,
    evaluation_spec,
    is_within,
    maze_map,
    register_mazes,
)
from ractd_jax.tasks.point_maze import MAZE2D

GOAL_CELLS = {"umaze": (1, 1), "medium": (6, 6), "large": (7, 9)}
TIME_LIMITS = {"umaze": 300, "medium": 600, "large": 800}
GOAL_RADIUS = 0.5  # m, pays 1
START_NOISE = 0.1  # m, to each side
START_SPEED = 0.1  # m/s, standard deviation along each axis


def register_maze2d() -> None:
    """Makes the ids of :data:`MAZE2D` known to Gymnasium; once is enough."""
    register_mazes(MAZE2D, f"{__name__}:Maze2d", TIME_LIMITS)


def maze2d_reward(positions: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """[...] 1 where `positions` [..., 2] lie within 0.5 m of `goal` [2], else 0."""
    return is_within(positions, goal, GOAL_RADIUS).astype(np.float64)


class Maze2d(gymnasium.Env):
    """A ball of 0.1 m that is pushed through a maze; observations as PointMaze's.

    A Dict of ``observation`` [4] (x, y, vx, vy), ``achieved_goal`` [2] and
    ``desired_goal`` [2], float64, in metres and metres per second. Actions [2] in
    [-1, 1] are forces along x and y, held for 0.01 s. Nothing terminates.

    Args:
      maze: ``umaze``, ``medium`` or ``large``.
      render_mode: ``rgb_array``, or None for no pictures.

    Raises:
      ConfigError: an unknown maze, or gymnasium-robotics is not installed.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}

    def __init__(self, maze: str, render_mode: str | None = None):
        self.render_mode = render_mode
        self._maze = maze_map(maze)
        self._starts = self._maze.cell_to_xy(self._maze.free_cells)
        self._centre = self._maze.cell_to_xy(GOAL_CELLS[maze])
        self.goal = self._centre
        env = gymnasium.make(
            evaluation_spec(maze), disable_env_checker=True, render_mode=render_mode
        ).unwrapped
        # The environment writes its model to a file, reads it, and does not remove it.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(env.tmp_xml_file_path)
        self.point_env = env.point_env
        self.action_space = self.point_env.action_space
        sizes = {"observation": 4, "achieved_goal": 2, "desired_goal": 2}
        self.observation_space = Dict(
            {key: Box(-np.inf, np.inf, (n,), np.float64) for key, n in sizes.items()}
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """A random start, and the maze's goal.

        The position is uniform within 0.1 m of the centre of a free cell, the goal's
        included; each velocity is normal with deviation 0.1 m/s.

        Args:
          seed: of all starts from here on.
          options: ``start`` and ``goal``, each (x, y) in metres, for this episode
            only and without noise; the velocity is still drawn.

        Raises:
          ConfigError: another option, or a position in a wall or outside the maze.
        """
        super().reset(seed=seed)
        options = options or {}
        if unknown := sorted(options.keys() - {"start", "goal"}):
            raise ConfigError(f"options: expected start or goal, found {unknown}")
        chosen = {key: check_free(self._maze, xy, key) for key, xy in options.items()}
        start = self.np_random.choice(self._starts)
        start = start + self.np_random.uniform(-START_NOISE, START_NOISE, 2)
        velocity = START_SPEED * self.np_random.standard_normal(2)
        self.goal = chosen.get("goal", self._centre)
        self.point_env.init_qpos[:] = chosen.get("start", start)
        self.point_env.init_qvel[:] = velocity
        state, _ = self.point_env.reset()
        return self._observation(state), {}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Pushes for 0.01 s; the position afterwards decides the reward."""
        state, *_ = self.point_env.step(action)
        reward = float(maze2d_reward(state[:2], self.goal))
        return self._observation(state), reward, False, False, {}

    def render(self) -> np.ndarray | None:
        return self.point_env.render()

    def close(self) -> None:
        self.point_env.close()

    def _observation(self, state: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "observation": state,
            "achieved_goal": state[:2].copy(),
            "desired_goal": self.goal.copy(),
        }
