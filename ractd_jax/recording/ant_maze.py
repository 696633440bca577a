"""D4RL's antmaze recipe: an ant that is walked through a maze, from cell to cell.

At every step the shortest path over the cells gives the next one, and a policy that
walks in a direction (Haarnoja et al. 2018; Park et al. 2024) heads for a point near
that cell's centre. An episode ends where the ant was sent, or after 1,000 steps. The
rewards are for D4RL's evaluation goal, which most episodes are not sent to; an episode
that meets it terminates there, as an evaluation does.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.errors import DataError
from ractd_jax.recording.behaviour import BehaviourPolicy
from ractd_jax.recording.rollouts import episodes_until, worker_pool
from ractd_jax.tasks.ant_maze import ANT_MAZES, RECORDED, START_CELL, d4rl_map
from ractd_jax.tasks.d4rl_ant import direction_input
from ractd_jax.tasks.d4rl_ant_maze import GOAL_CELLS, draw_goal, has_arrived
from ractd_jax.tasks.environments import registered_spec
from ractd_jax.tasks.maze_map import MazeMap, shortest_path

KINDS = RECORDED
ACTION_NOISE = 0.2
RUN_STEPS = 1000
# D4RL's: a waypoint is off its cell's centre, towards higher x and y.
_WAYPOINT_NOISE = 1.0  # m
# An ant that stays within the radius for so long lies on its back or in a corner.
_STUCK_STEPS, _STUCK_RADIUS = 200, 0.5
_STUCK_EVERY = 20  # steps between looks
_ATTEMPTS = 50
# The cells that D4RL's maps mark, and the evaluation's two.
_PLAY_CELLS = {
    "medium": ((1, 1), (2, 6), (5, 1), (6, 5), (6, 6)),
    "large": ((1, 1), (1, 6), (3, 5), (3, 10), (5, 2), (7, 4), (7, 6), (7, 9)),
}

BEHAVIOUR = {
    "algorithm": "shortest path over cells, and a SAC policy that walks in a direction",
    "action_noise": ACTION_NOISE,
    "waypoint_noise": _WAYPOINT_NOISE,
    "steps_per_episode": RUN_STEPS,
    "left_out": f"episodes that stayed within {_STUCK_RADIUS} m for {_STUCK_STEPS} "
    "steps",
}


class AntController:
    """Walks to a goal along the cells between.

    Args:
      policy: acts on :func:`ractd_jax.tasks.d4rl_ant.direction_input`.
      maze: where.
      rng: of the waypoints' noise.
    """

    def __init__(
        self, policy: BehaviourPolicy, maze: MazeMap, rng: np.random.Generator
    ):
        self._policy, self._maze, self._rng = policy, maze, rng
        self._cell = START_CELL

    def act(self, state: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """[8] the policy's mode at a state [29], on the way to `goal` [2]."""
        way = self.waypoint(state[:2], goal) - state[:2]
        direction = way / max(np.linalg.norm(way), 1e-6)
        return self._policy.act(direction_input(state, direction)[None], None)[0]

    def waypoint(self, position: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """[2] where to walk from `position` [2], in metres: no wall is in between."""
        cell, end = (
            tuple(self._maze.xy_to_cell(xy).tolist()) for xy in (position, goal)
        )
        # A torso that is pressed into a wall belongs to the cell that it came from.
        self._cell = self._cell if self._maze.walls[cell] else cell
        path = _path(self._maze.name, self._cell, end)
        if len(path) <= 2:
            return goal
        noise = self._rng.uniform(0.0, _WAYPOINT_NOISE, 2)
        return self._maze.cell_to_xy(np.asarray(path[1])) + noise


@functools.cache
def _path(name: str, start: tuple[int, int], end: tuple[int, int]):
    """The shortest path in a maze of :data:`ANT_MAZES`."""
    return shortest_path(d4rl_map(name), start, end)


def recording_spec(kind: str) -> EnvSpec:
    """The maze of a kind, with D4RL's time limit for recordings.

    Raises:
      ConfigError: gymnasium-robotics is not installed.
    """
    spec = copy.deepcopy(registered_spec(ANT_MAZES[kind.partition("-")[0]]))
    spec.max_episode_steps = RUN_STEPS
    return spec


def draw_ends(
    kind: str, maze: MazeMap, rng: np.random.Generator
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The cells that an episode starts in and is sent to.

    ``umaze``: the evaluation's. ``play``: two of the cells that D4RL's maps mark, the
    evaluation's included. ``diverse``: any two free cells.
    """
    name, _, cells = kind.partition("-")
    if not cells:
        return START_CELL, GOAL_CELLS[name]
    known = _PLAY_CELLS[name] if cells == "play" else maze.free_cells.tolist()
    start, end = rng.choice(len(known), 2, replace=False)
    return tuple(known[start]), tuple(known[end])


def record_episode(
    env: gymnasium.Env, policy: BehaviourPolicy, kind: str, seed: int
) -> RecordedEpisode:
    """One episode, determined by the seed, whose ant did not get stuck.

    Its goals are where the ant was sent; its rewards are for the evaluation's goal.

    Raises:
      DataError: the ant got stuck in each of 50 attempts.
    """
    for attempt in range(_ATTEMPTS):
        episode = _attempt(env, policy, kind, seed, attempt)
        if episode is not None:
            return episode
    raise DataError(
        f"antmaze-{kind}, seed {seed}",
        expected="a policy that walks",
        found=f"{_ATTEMPTS} episodes that stayed within {_STUCK_RADIUS} m for "
        f"{_STUCK_STEPS} steps",
    )


def _attempt(
    env: gymnasium.Env, policy: BehaviourPolicy, kind: str, seed: int, attempt: int
) -> RecordedEpisode | None:
    """An episode; None as soon as its ant is stuck."""
    # Not the seed alone: the environment draws from that stream.
    rng = np.random.default_rng((seed, 1, attempt))
    maze = env.unwrapped.maze
    start, end = draw_ends(kind, maze, rng)
    sent_to = draw_goal(maze, end, rng)
    options = {"start": maze.cell_to_xy(np.asarray(start)).tolist()}
    state, _ = env.reset(seed=seed, options=options)
    if end == GOAL_CELLS[maze.name]:
        sent_to = env.unwrapped.goal
    controller = AntController(policy, maze, rng)
    states, actions, rewards = [state], [], []
    arrived = terminated = truncated = False
    while not (arrived or terminated or truncated):
        noise = ACTION_NOISE * rng.standard_normal(env.action_space.shape)
        action = np.clip(controller.act(state, sent_to) + noise, -1.0, 1.0)
        actions.append(action.astype(np.float32))
        state, reward, terminated, truncated, _ = env.step(actions[-1])
        arrived = has_arrived(state[:2], sent_to)
        states.append(state)
        rewards.append(reward)
        if len(actions) % _STUCK_EVERY == 0 and is_stuck(states):
            return None
    return RecordedEpisode(
        np.asarray(states, np.float32),
        np.asarray(actions),
        np.asarray(rewards, np.float32),
        bool(terminated),
        not terminated,
        seed,
        np.tile(sent_to.astype(np.float32), (len(states), 1)),
        options,
    )


def is_stuck(states: Sequence[np.ndarray]) -> bool:
    """Whether the last 200 steps stayed within 0.5 m of where they began.

    Args:
      states: [2 or more] arrays so far, x and y first, in metres.
    """
    last = np.array([state[:2] for state in states[-_STUCK_STEPS - 1 :]])
    distances = np.linalg.norm(last - last[0], axis=-1)
    return len(last) > _STUCK_STEPS and bool((distances < _STUCK_RADIUS).all())


_worker_env: gymnasium.Env | None = None


def _start_worker(kind: str) -> None:
    global _worker_env
    _worker_env = gymnasium.make(recording_spec(kind), disable_env_checker=True)


def _record(policy: BehaviourPolicy, kind: str, seed: int) -> RecordedEpisode:
    return record_episode(_worker_env, policy, kind, seed)


def record_ant_maze(
    kind: str,
    policy: BehaviourPolicy,
    num_transitions: int,
    seed: int,
    num_workers: int | None = None,
) -> Iterator[RecordedEpisode]:
    """Yields whole episodes, one for each seed, until they have `num_transitions`.

    The result depends on `seed` alone, not on the number of workers.

    Args:
      kind: one of :data:`KINDS`.
      policy: that walks.
      num_transitions: at least as many are recorded.
      seed: of the first episode; the others count on.
      num_workers: processes; by default one for each core.
    """
    record = functools.partial(_record, policy, kind)
    with worker_pool(num_workers, _start_worker, kind) as pool:
        yield from episodes_until(pool, record, num_transitions, seed, num_workers)


def arrives(env: gymnasium.Env, policy: BehaviourPolicy, seed: int) -> bool:
    """Whether the controller, without noise, reaches the goal of an evaluation."""
    rng = np.random.default_rng((seed, 1))
    state, _ = env.reset(seed=seed)
    controller = AntController(policy, env.unwrapped.maze, rng)
    terminated = truncated = False
    while not (terminated or truncated):
        action = controller.act(state, env.unwrapped.goal)
        state, _, terminated, truncated, _ = env.step(action)
    return bool(terminated)


def success_rates(
    policy: BehaviourPolicy,
    num_episodes: int,
    seed: int,
    num_workers: int | None = None,
) -> dict[str, float]:
    """Share of evaluations in which the controller arrives, for each maze.

    Args:
      policy: that walks.
      num_episodes: of each maze.
      seed: of the first one.
      num_workers: processes; by default one for each core.
    """
    seeds = range(seed, seed + num_episodes)
    rates = {}
    for name, environment_id in ANT_MAZES.items():
        with worker_pool(num_workers, _start_evaluation, environment_id) as pool:
            arrived = list(pool.map(functools.partial(_arrives, policy), seeds))
        rates[name] = float(np.mean(arrived))
    return rates


def _start_evaluation(environment_id: str) -> None:
    global _worker_env
    spec = registered_spec(environment_id)
    _worker_env = gymnasium.make(spec, disable_env_checker=True)


def _arrives(policy: BehaviourPolicy, seed: int) -> bool:
    return arrives(_worker_env, policy, seed)
