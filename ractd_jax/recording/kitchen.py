"""A robot in a kitchen, driven by the segments of D4RL's human demonstrations.

D4RL's file kitchen-complete holds 19 demonstrations of four subtasks in one order. Its
actions do not repeat them: each moves a joint from where it was seen to be, so that
noise and rounding add up. What an action asked for is the position

    c_t = q_t + 2 dt a_t,

and a robot that is given these positions (:func:`follow`) repeats all 19. A
demonstration is cut into one segment for each subtask, and an episode puts segments of
random demonstrations together, with a straight way in joint space in between. So the
data shows what a planner may stitch together. It is not D4RL's: the logs behind
kitchen-partial and kitchen-mixed hold subtasks that no demonstration of this file does.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import gymnasium
import numpy as np

from ractd_jax.data.d4rl_hdf5 import load_d4rl_hdf5
from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.errors import DataError
from ractd_jax.recording.rollouts import episodes_until, worker_pool
from ractd_jax.settings import Environment
from ractd_jax.tasks.d4rl_kitchen import (
    MAX_SPEED,
    NUM_JOINTS,
    OBSERVATION_SIZE,
    STEP_SECONDS,
)
from ractd_jax.tasks.environments import make_environment

ENVIRONMENT = "ractd/Kitchen-v0"
KINDS = ("complete", "partial", "mixed")
NUM_SUBTASKS = 4
ACTION_NOISE = 0.05
# A segment goes on for so long after its subtask is done, so that the hand lets go.
_STEPS_AFTER = 8
# Share of the full speed on the way to a segment.
_WAY_SPEED = 0.7
# Share of partial's episodes that have all subtasks in the demonstrations' order.
_SHARE_IN_ORDER = 0.2
_REACH = MAX_SPEED * STEP_SECONDS  # rad, of one step at full speed

BEHAVIOUR = {
    "algorithm": "segments of human demonstrations, put together anew",
    "demonstrations": "D4RL kitchen-complete (Gupta et al. 2019, Fu et al. 2020), CC "
    "BY 4.0",
    "action_noise": ACTION_NOISE,
    "steps_after_a_subtask": _STEPS_AFTER,
    "speed_between_segments": _WAY_SPEED,
}


class Demonstration(NamedTuple):
    """One demonstration of four subtasks.

    Attributes:
      targets: [T, 9] positions that the joints were sent to, in rad and m.
      ends: [5] where the subtasks' segments begin and end: 0, ..., at most T.
    """

    targets: np.ndarray
    ends: tuple[int, ...]

    def segment(self, subtask: int) -> np.ndarray:
        """[S, 9] the targets of the subtask's segment, by its place in the order."""
        return self.targets[self.ends[subtask] : self.ends[subtask + 1]]


def load_demonstrations(path: str) -> list[Demonstration]:
    """The demonstrations of a file in D4RL's layout of kitchen-complete.

    Raises:
      DataError: it cannot be read, or is of another task: each episode must do the four
        subtasks, as its rewards say.
    """
    episodes, _ = load_d4rl_hdf5(path)
    sizes = episodes.observations.shape[1], episodes.actions.shape[1]
    if sizes != (2 * OBSERVATION_SIZE, NUM_JOINTS):
        raise DataError(
            path,
            field="observations",
            expected="demonstrations of kitchen-complete: 60 numbers, and 9 of actions",
            found=f"{sizes[0]}, and {sizes[1]} of actions",
        )
    demonstrations = []
    for start, end in itertools.pairwise(episodes.starts.tolist()):
        rows = slice(start, end)
        steps = np.flatnonzero(episodes.rewards[rows] > 0)
        if len(steps) != NUM_SUBTASKS:
            raise DataError(
                path,
                field="rewards",
                expected="demonstrations of kitchen-complete: every episode does four "
                "subtasks, one after the other",
                found=f"{len(steps)} in the episode from row {start}",
            )
        joints = episodes.observations[rows, :NUM_JOINTS]
        targets = joints + _REACH * episodes.actions[rows]
        ends = np.minimum(steps + 1 + _STEPS_AFTER, end - start)
        demonstrations.append(Demonstration(targets, (0, *ends.tolist())))
    return demonstrations


def follow(joints: np.ndarray, target: np.ndarray) -> np.ndarray:
    """[..., 9] action in [-1, 1] that sends joints [..., 9], as seen, to `target`."""
    return np.clip((target - joints) / _REACH, -1.0, 1.0)


def way(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """[W, 9] targets on the straight line from `start` to `end` [9], both left out."""
    step = _WAY_SPEED * _REACH
    steps = int(np.ceil(np.abs(end - start).max() / step))
    shares = np.arange(1, steps)[:, None] / max(steps, 1)
    return start + shares * (end - start)


def _targets(start: np.ndarray, parts: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """The targets [9] of segments, and of the ways to them from `start` [9] on."""
    for part in parts:
        yield from way(start, part[0])
        yield from part
        start = part[-1]


def draw_order(kind: str, rng: np.random.Generator) -> list[int]:
    """Which subtasks an episode does, by their places in the demonstrations' order.

    ``complete``: all, in order. ``partial``: two to four in a random order, a fifth of
    the episodes as ``complete``. ``mixed``: two or three in a random order, never all.
    """
    if kind == "complete" or (kind == "partial" and rng.random() < _SHARE_IN_ORDER):
        return list(range(NUM_SUBTASKS))
    most = NUM_SUBTASKS if kind == "partial" else NUM_SUBTASKS - 1
    count = rng.integers(2, most + 1)
    return rng.permutation(NUM_SUBTASKS)[:count].tolist()


def record_episode(
    env: gymnasium.Env,
    demonstrations: Sequence[Demonstration],
    kind: str,
    seed: int,
    action_noise: float = ACTION_NOISE,
) -> RecordedEpisode:
    """One episode, determined by the seed; what fails is kept.

    It ends with the environment's, or after the last segment.
    """
    # Not the seed alone: the environment's noise is drawn from that stream.
    rng = np.random.default_rng((seed, 1))
    parts = [
        demonstrations[rng.integers(len(demonstrations))].segment(subtask)
        for subtask in draw_order(kind, rng)
    ]
    observation, _ = env.reset(seed=seed)
    observations, actions, rewards = [observation], [], []
    terminated = truncated = False
    for target in _targets(observation[:NUM_JOINTS], parts):
        noise = action_noise * rng.standard_normal(NUM_JOINTS)
        action = follow(observation[:NUM_JOINTS], target) + noise
        action = np.clip(action, -1.0, 1.0).astype(np.float32)
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(observation)
        actions.append(action)
        rewards.append(reward)
        if terminated or truncated:
            break
    return RecordedEpisode(
        np.asarray(observations, np.float32),
        np.asarray(actions),
        np.asarray(rewards, np.float32),
        bool(terminated),
        not terminated,
        seed,
    )


_worker_env: gymnasium.Env | None = None


def _start_worker(environment_id: str) -> None:
    global _worker_env
    _worker_env = make_environment(Environment(environment_id))


def _record(
    demonstrations: Sequence[Demonstration], kind: str, seed: int
) -> RecordedEpisode:
    return record_episode(_worker_env, demonstrations, kind, seed)


def record_kitchen(
    demonstrations: Sequence[Demonstration],
    kind: str,
    num_transitions: int,
    seed: int,
    num_workers: int | None = None,
) -> Iterator[RecordedEpisode]:
    """Yields whole episodes, one for each seed, until they have `num_transitions`.

    The result depends on `seed` alone, not on the number of workers.

    Args:
      demonstrations: whose segments are put together.
      kind: one of :data:`KINDS`.
      num_transitions: at least as many are recorded.
      seed: of the first episode; the others count on.
      num_workers: processes; by default one for each core.
    """
    record = functools.partial(_record, demonstrations, kind)
    with worker_pool(num_workers, _start_worker, ENVIRONMENT) as pool:
        yield from episodes_until(pool, record, num_transitions, seed, num_workers)
