"""D4RL's maze2d recipe: a ball driven through a maze from one random goal to the next.

A planner finds the shortest path over the cells, a PD controller with D4RL's gains
drives along them, and a run goes from goal to goal until it has its steps; nothing ever
terminates. Rewards are those that the environment paid: 1 for each step that ends
within 0.45 m of the current goal. (The rewards in D4RL's files were added later, for
one fixed goal that the recording did not aim at.)

Two drivers (:data:`DRIVERS`) differ in what noise they have and when a goal is reached.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.recording.rollouts import worker_pool
from ractd_jax.tasks.maze_map import MazeMap, evaluation_spec, maze_map, shortest_path
from ractd_jax.tasks.point_maze import MAZES

RUN_STEPS = 10_000
# D4RL's. The motors accelerate the ball by 23.9 m/s^2 at most; it is damped
# by 0.78 of the critical damping, and starts to brake from the limit of 5 m/s at the
# last moment that stops it in time.
GAIN_P, GAIN_D = 10.0, 1.0  # action per m, action per m/s
# The ball slows down at every cell, and so takes the corners without a crash.
WAYPOINT_RADIUS = 0.1  # m
# Of the goals that the recording draws itself, along each axis.
GOAL_NOISE = 0.1  # m


class Driver(NamedTuple):
    """What differs between recordings besides the maze.

    Attributes:
      action_noise: standard deviation of the noise on the actions.
      waypoint_noise: m; waypoints lie within so much of their cells' centres, along
        each axis.
      arrival: m from a goal at which the recording draws the next one; None where the
        environment does, as it pays: at 0.45 m.
    """

    action_noise: float = 0.0
    waypoint_noise: float = 0.0
    arrival: float | None = None

    def about(self) -> dict[str, object]:
        """Facts about the acting policy, for a dataset's description."""
        return {
            "algorithm": "waypoint planner and PD controller",
            "gains": [GAIN_P, GAIN_D],
            **self._asdict(),
            "waypoint_radius": WAYPOINT_RADIUS,
            "steps_per_run": RUN_STEPS,
        }


# By the suffix of a dataset's kind: gymnasium-robotics' recording of D4RL's datasets,
# and D4RL's own.
DRIVERS = {
    "": Driver(action_noise=0.5),
    "-d4rl": Driver(waypoint_noise=0.1, arrival=0.1),
}
# Such as ``large-d4rl``: the maze, and who drives.
KINDS = {
    f"{maze}{suffix}": (maze, driver)
    for suffix, driver in DRIVERS.items()
    for maze in MAZES
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
      waypoint_noise: see :class:`Driver`.
      seed: of the waypoints' noise.
    """

    def __init__(self, maze: MazeMap, waypoint_noise: float = 0.0, seed: int = 0):
        self._maze, self._noise = maze, waypoint_noise
        self._rng = np.random.default_rng((seed, 2))

    def set_goal(self, position: np.ndarray, goal: np.ndarray) -> None:
        """Plans the path from `position` [2] to `goal` [2], in metres."""
        start, end = (
            tuple(self._maze.xy_to_cell(xy).tolist()) for xy in (position, goal)
        )
        cells = shortest_path(self._maze, start, end)
        # A ball in the goal's cell already has a leg too: from the cell to itself.
        self._legs = list(itertools.pairwise(cells)) or [(start, end)]
        centres = self._maze.cell_to_xy(cells)[1:-1]
        noise = self._noise * self._rng.uniform(-1, 1, centres.shape)
        self._waypoints = [*(centres + noise), goal]
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


def recording_spec(kind: str) -> EnvSpec:
    """The environment that records; goals change as its driver's `arrival` says.

    Args:
      kind: one of :data:`KINDS`.

    Raises:
      ConfigError: an unknown kind, or gymnasium-robotics is not installed.
    """
    maze, driver = KINDS.get(kind, (kind, DRIVERS[""]))
    spec = copy.deepcopy(evaluation_spec(maze))
    spec.kwargs |= {"continuing_task": True, "reset_target": driver.arrival is None}
    spec.max_episode_steps = RUN_STEPS
    return spec


def draw_goal(maze: MazeMap, rng: np.random.Generator) -> np.ndarray:
    """[2] in metres: near the centre of any free cell, the ball's own included."""
    centre = rng.choice(maze.cell_to_xy(maze.free_cells))
    return centre + rng.uniform(-GOAL_NOISE, GOAL_NOISE, 2)


def record_run(
    env: gymnasium.Env,
    maze: MazeMap,
    num_steps: int,
    seed: int,
    driver: Driver = DRIVERS[""],
) -> RecordedEpisode:
    """One run of `num_steps` steps; a shorter run with the same seed is its beginning.

    The goal at step t is the one that action t drives to and that reward t is paid for.
    """
    # Not the seed alone: the environment draws its goals from that stream.
    rng = np.random.default_rng((seed, 1))
    noise = driver.action_noise * rng.standard_normal((num_steps, 2))
    rng = np.random.default_rng((seed, 3))
    observations = np.empty((num_steps + 1, 4), np.float32)
    goals = np.empty((num_steps + 1, 2), np.float32)
    actions = np.empty((num_steps, 2), np.float32)
    rewards = np.empty(num_steps, np.float32)
    controller = WaypointController(maze, driver.waypoint_noise, seed)
    state = env.reset(seed=seed)[0]["observation"]
    controller.set_goal(state[:2], env.unwrapped.goal)
    for step in range(num_steps):
        goal = env.unwrapped.goal
        observations[step], goals[step] = state, goal
        actions[step] = np.clip(controller.act(state) + noise[step], -1.0, 1.0)
        observation, reward, *_ = env.step(actions[step])
        state, rewards[step] = observation["observation"], reward
        if driver.arrival is None:
            arrived = reward > 0
        elif arrived := np.linalg.norm(state[:2] - goal) < driver.arrival:
            env.unwrapped.goal = draw_goal(maze, rng)
        if arrived:
            controller.set_goal(state[:2], env.unwrapped.goal)
    observations[-1], goals[-1] = state, env.unwrapped.goal
    return RecordedEpisode(observations, actions, rewards, False, True, seed, goals)


_worker: tuple[gymnasium.Env, MazeMap, Driver] | None = None


def _start_worker(kind: str) -> None:
    global _worker
    env = gymnasium.make(recording_spec(kind), disable_env_checker=True)
    maze, driver = KINDS[kind]
    _worker = env, maze_map(maze), driver


def _record(num_steps: int, seed: int) -> RecordedEpisode:
    env, maze, driver = _worker
    return record_run(env, maze, num_steps, seed, driver)


def record_maze(
    kind: str, num_transitions: int, seed: int, num_workers: int | None = None
) -> Iterator[RecordedEpisode]:
    """Yields runs of equal length, at most :data:`RUN_STEPS`, one for each seed.

    The result depends on `seed` alone, not on the number of workers.

    Args:
      kind: one of :data:`KINDS`.
      num_transitions: exactly as many are recorded.
      seed: of the first run; the others count on.
      num_workers: processes; by default one for each core.
    """
    num_runs = -(-num_transitions // RUN_STEPS)
    lengths = [len(run) for run in np.array_split(range(num_transitions), num_runs)]
    with worker_pool(num_workers, _start_worker, kind) as pool:
        yield from pool.map(_record, lengths, itertools.count(seed))
