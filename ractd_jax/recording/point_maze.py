"""D4RL's maze2d recipe: a ball driven through a maze from one random goal to the next.

A planner finds the shortest path over the cells, a PD controller drives along their
centres with noise on its actions, and a run goes from goal to goal until it has its
steps; nothing ever terminates. Rewards are those that the environment paid: 1 on
arriving within 0.45 m of the current goal, which is then replaced. (The rewards in
D4RL's files were added later, for one fixed goal that the recording did not aim at.)
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.recording.rollouts import worker_pool
from ractd_jax.tasks.maze_map import MazeMap, evaluation_spec, maze_map, shortest_path

RUN_STEPS = 10_000
# The motors accelerate the ball by 23.9 m/s^2 at most. With these gains it is damped
# by 0.78 of the critical damping, and starts to brake from the limit of 5 m/s at the
# last moment that stops it in time.
GAIN_P, GAIN_D = 10.0, 1.0  # action per m, action per m/s
ACTION_NOISE = 0.5
# D4RL's: the ball slows down at every cell, and so takes the corners without a crash.
WAYPOINT_RADIUS = 0.1  # m

BEHAVIOUR = {
    "algorithm": "waypoint planner and PD controller",
    "gains": [GAIN_P, GAIN_D],
    "action_noise": ACTION_NOISE,
    "waypoint_radius": WAYPOINT_RADIUS,
    "steps_per_run": RUN_STEPS,
}


def pd_action(observations: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """[..., 2] actions in [-1, 1] that steer to the positions `targets` [..., 2].

    Args:
      observations: [..., 4] (x, y, vx, vy), metres and metres per second.
      targets: [..., 2] (x, y).
    """
    error = targets - observations[..., :2]
    return np.clip(GAIN_P * error - GAIN_D * observations[..., 2:], -1.0, 1.0)


class WaypointController:
    """Drives from goal to goal along the centres of the cells between them.

    The waypoint always lies in the ball's cell or in a neighbouring one, so that the
    straight line to it crosses no wall. A ball that left its path gets a new path.

    Args:
      maze: the maze.
    """

    def __init__(self, maze: MazeMap):
        self._maze = maze

    def set_goal(self, position: np.ndarray, goal: np.ndarray) -> None:
        """Plans the path from `position` [2] to `goal` [2], in metres."""
        start, end = (
            tuple(self._maze.xy_to_cell(xy).tolist()) for xy in (position, goal)
        )
        cells = shortest_path(self._maze, start, end)
        # A ball in the goal's cell already has a leg too: from the cell to itself.
        self._legs = list(itertools.pairwise(cells)) or [(start, end)]
        self._waypoints = [*self._maze.cell_to_xy(cells)[1:-1], goal]
        self._goal, self._leg = goal, 0

    def waypoint(self, position: np.ndarray) -> np.ndarray:
        """[2] where to steer from `position` [2], in metres; remembers the progress."""
        cell = tuple(self._maze.xy_to_cell(position).tolist())
        if cell not in self._legs[self._leg]:
            self.set_goal(position, self._goal)
        rest = position - self._waypoints[self._leg]
        last = len(self._legs) - 1
        if self._leg < last and rest @ rest < WAYPOINT_RADIUS**2:
            self._leg += 1
        return self._waypoints[self._leg]

    def act(self, observation: np.ndarray) -> np.ndarray:
        """[2] action in [-1, 1] for an observation [4] (x, y, vx, vy)."""
        return pd_action(observation, self.waypoint(observation[:2]))


def recording_spec(name: str) -> EnvSpec:
    """The environment that records: it draws a new goal as soon as it paid for one.

    Args:
      name: ``umaze``, ``medium`` or ``large``.

    Raises:
      ConfigError: an unknown maze, or gymnasium-robotics is not installed.
    """
    spec = copy.deepcopy(evaluation_spec(name))
    spec.kwargs |= {"continuing_task": True, "reset_target": True}
    spec.max_episode_steps = RUN_STEPS
    return spec


def record_run(
    env: gymnasium.Env, maze: MazeMap, num_steps: int, seed: int
) -> RecordedEpisode:
    """One run of `num_steps` steps; a shorter run with the same seed is its beginning.

    The goal at step t is the one that action t drives to and that reward t is paid for.
    """
    # Not the seed alone: the environment draws its goals from that stream.
    rng = np.random.default_rng((seed, 1))
    noise = ACTION_NOISE * rng.standard_normal((num_steps, 2))
    observations = np.empty((num_steps + 1, 4), np.float32)
    goals = np.empty((num_steps + 1, 2), np.float32)
    actions = np.empty((num_steps, 2), np.float32)
    rewards = np.empty(num_steps, np.float32)
    controller, arrived = WaypointController(maze), True
    state = env.reset(seed=seed)[0]["observation"]
    for step in range(num_steps):
        goal = env.unwrapped.goal
        if arrived:
            controller.set_goal(state[:2], goal)
        observations[step], goals[step] = state, goal
        actions[step] = np.clip(controller.act(state) + noise[step], -1.0, 1.0)
        observation, reward, *_ = env.step(actions[step])
        state, rewards[step], arrived = observation["observation"], reward, reward > 0
    observations[-1], goals[-1] = state, env.unwrapped.goal
    return RecordedEpisode(observations, actions, rewards, False, True, seed, goals)


_worker: tuple[gymnasium.Env, MazeMap] | None = None


def _start_worker(name: str) -> None:
    global _worker
    env = gymnasium.make(recording_spec(name), disable_env_checker=True)
    _worker = env, maze_map(name)


def _record(num_steps: int, seed: int) -> RecordedEpisode:
    return record_run(*_worker, num_steps, seed)


def record_maze(
    name: str, num_transitions: int, seed: int, num_workers: int | None = None
) -> Iterator[RecordedEpisode]:
    """Yields runs of equal length, at most :data:`RUN_STEPS`, one for each seed.

    The result depends on `seed` alone, not on the number of workers.

    Args:
      name: ``umaze``, ``medium`` or ``large``.
      num_transitions: exactly as many are recorded.
      seed: of the first run; the others count on.
      num_workers: processes; by default one for each core.
    """
    num_runs = -(-num_transitions // RUN_STEPS)
    lengths = [len(run) for run in np.array_split(range(num_transitions), num_runs)]
    with worker_pool(num_workers, _start_worker, name) as pool:
        yield from pool.map(_record, lengths, itertools.count(seed))
