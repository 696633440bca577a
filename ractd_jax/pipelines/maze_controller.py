"""The controller that recorded a maze's data, under the evaluation's protocol."""

from __future__ import annotations

import numpy as np

from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.results import EpisodeResults
from ractd_jax.evaluation.rollout import run_episodes
from ractd_jax.recording.point_maze import KINDS, Driver, WaypointController
from ractd_jax.reports.statistics import summarize
from ractd_jax.settings import Environment
from ractd_jax.tasks import task_of
from ractd_jax.tasks.maze_map import MazeMap, maze_map
from ractd_jax.tasks.point_maze import MAZE2D

_TASK = "pointmaze-"
# A state and a goal; there are no plans.
_DIMS = Dimensions(observation=4, action=2, horizon=1, history=1, goal=2)


class _Waypoints:
    """Drives each episode by a controller of its own, without noise on the actions."""

    compile_seconds = 0.0

    def __init__(self, maze: MazeMap, driver: Driver, seed: int):
        self._maze, self._driver, self._seed = maze, driver, seed
        self._controllers = {}

    def act(
        self, observations: np.ndarray, episodes: np.ndarray, step: int
    ) -> np.ndarray:
        del step
        pairs = zip(episodes.tolist(), observations[:, -1], strict=True)
        return np.stack([self._act(episode, seen) for episode, seen in pairs])

    def _act(self, episode, observation):
        observation = observation.astype(np.float64)
        if episode not in self._controllers:
            controller = WaypointController(
                self._maze, self._driver.waypoint_noise, self._seed + episode
            )
            controller.set_goal(observation[:2], observation[4:])
            self._controllers[episode] = controller
        return self._controllers[episode].act(observation[:4])


def controller_of(task: str) -> tuple[str, Driver]:
    """(maze, driver) of a task such as ``pointmaze-large-d4rl``.

    Raises:
      ConfigError: another task.
    """
    kind = task.removeprefix(_TASK)
    if kind == task or kind not in KINDS:
        known = ", ".join(f"{_TASK}{kind}" for kind in KINDS)
        raise ConfigError(f"task: expected one of {known}, found {task!r}")
    return KINDS[kind]


def evaluate_controller(
    task: str, environment: Environment, num_episodes: int, seed: int
) -> EpisodeResults:
    """Episodes of the controller of `task`, which knows the walls.

    Args:
      task: such as ``pointmaze-large-d4rl``.
      environment: of the same maze.
      num_episodes: E.
      seed: of the first reset; the others count up.

    Raises:
      ConfigError: another task, or the environment cannot be made.
    """
    maze, driver = controller_of(task)
    return run_episodes(
        _Waypoints(maze_map(maze), driver, seed),
        _DIMS,
        environment,
        seed + np.arange(num_episodes),
    )


def rate_controller(task: str, num_episodes: int, seed: int) -> dict:
    """Statistics of :func:`evaluate_controller` in the maze2d protocol.

    Raises:
      ConfigError: see :func:`evaluate_controller`.
    """
    maze, _ = controller_of(task)
    environment_id = MAZE2D[maze]
    family = task_of(environment_id)
    low, high, source, _ = family.reference(environment_id)
    environment = Environment(
        environment_id, score_min=low, score_max=high, score_source=source
    )
    found = evaluate_controller(task, environment, num_episodes, seed)
    reached = float(family.success(found.returns).mean())
    return summarize(found, environment) | {"reached_share": reached}
