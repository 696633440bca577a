"""Rolls behaviour policies out in MuJoCo, in worker processes, into episodes."""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np

from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.errors import ConfigError
from ractd_jax.recording.behaviour import (
    Behaviour,
    BehaviourPolicy,
    PolicySnapshots,
)

DATASET_KINDS = ("medium", "medium-replay", "medium-expert")


_worker_env: gymnasium.Env | None = None


def _start_worker(environment_id: str) -> None:
    global _worker_env
    _worker_env = gymnasium.make(environment_id, disable_env_checker=True)


def _record(policy: BehaviourPolicy, seed: int) -> RecordedEpisode:
    return record_episode(_worker_env, policy, seed)


def record_episode(
    env: gymnasium.Env,
    policy: Behaviour,
    seed: int,
    options: dict[str, Any] | None = None,
) -> RecordedEpisode:
    """One stochastic episode of `policy`, determined by the seed and the `options` of
    the reset.
    """
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed, options=options)
    observations, actions, rewards = [observation], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        action = policy.act(observation[None], policy.noise(rng))[0]
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(observation)
        actions.append(action)
        rewards.append(reward)
    return RecordedEpisode(
        np.asarray(observations, np.float32),
        np.asarray(actions, env.action_space.dtype),
        np.asarray(rewards, np.float32),
        bool(terminated),
        bool(truncated),
        seed,
        options=options,
    )


def mixture(
    snapshots: PolicySnapshots, kind: str, num_transitions: int
) -> list[tuple[BehaviourPolicy, int]]:
    """D4RL's recipes as (policy, transitions) parts.

    ``medium`` is one policy, ``medium-expert`` half and half, ``medium-replay`` the
    snapshots in order up to the expert, an equal share each.

    Raises:
      ConfigError: an unknown kind.
    """
    if kind == "medium":
        policies = [snapshots.role("medium")]
    elif kind == "medium-expert":
        policies = [snapshots.role("medium"), snapshots.role("expert")]
    elif kind == "medium-replay":
        policies = list(snapshots.policies.values())
    else:
        raise ConfigError(f"dataset kind must be one of {DATASET_KINDS}, not {kind!r}")
    shares = [
        len(part) for part in np.array_split(range(num_transitions), len(policies))
    ]
    return list(zip(policies, shares, strict=True))


def worker_pool(
    num_workers: int | None, start: Callable[[str], None], environment: str
) -> concurrent.futures.ProcessPoolExecutor:
    """A pool of processes, by default one for each core, which call ``start`` first."""
    # Spawned: a fork of a process that runs JAX's threads may hang.
    spawn = multiprocessing.get_context("spawn")
    workers = num_workers or os.cpu_count() or 1
    return concurrent.futures.ProcessPoolExecutor(workers, spawn, start, (environment,))


def record_mixture(
    environment_id: str,
    parts: Sequence[tuple[BehaviourPolicy, int]],
    seed: int,
    num_workers: int | None = None,
) -> Iterator[RecordedEpisode]:
    """Yields whole episodes, part after part, until each has its transitions.

    The result depends on `seed` alone, not on the number of workers.

    Args:
      environment_id: Gymnasium id.
      parts: (policy, transitions) in order.
      seed: first of the episodes' seeds.
      num_workers: processes; by default one for each core.
    """
    with worker_pool(num_workers, _start_worker, environment_id) as pool:
        for policy, wanted in parts:
            record = functools.partial(_record, policy)
            for episode in episodes_until(pool, record, wanted, seed, num_workers):
                yield episode
                # Not the seeds under way, whose number depends on the workers.
                seed = episode.seed + 1


def episodes_until(
    pool: concurrent.futures.Executor,
    record: Callable[[int], RecordedEpisode],
    wanted: int,
    seed: int,
    num_workers: int | None = None,
) -> Iterator[RecordedEpisode]:
    """Yields the episodes of the seeds from `seed` on until they have `wanted` steps.

    Args:
      pool: of `num_workers` processes.
      record: seed -> episode; a function that can be sent to another process.
      wanted: steps; episodes are whole.
      seed: the first one.
      num_workers: four times as many episodes are in progress.
    """
    recorded, seeds = 0, itertools.count(seed)
    ahead = 4 * (num_workers or os.cpu_count() or 1)
    pending = [pool.submit(record, next(seeds)) for _ in range(ahead)]
    try:
        while recorded < wanted:
            episode = pending.pop(0).result()
            pending.append(pool.submit(record, next(seeds)))
            recorded += len(episode.rewards)
            yield episode
    finally:  # also where nobody takes the next one
        for future in pending:
            future.cancel()


def parts_of_episodes(lengths: Sequence[int], shares: Sequence[int]) -> np.ndarray:
    """[E] which part of a mixture each recorded episode is of.

    Args:
      lengths: steps of the episodes, in the order of :func:`record_mixture`.
      shares: transitions asked of each part.
    """
    parts, part, recorded = [], 0, 0
    for length in lengths:
        parts.append(part)
        recorded += length
        if recorded >= shares[part]:
            part, recorded = min(part + 1, len(shares) - 1), 0
    return np.array(parts)
