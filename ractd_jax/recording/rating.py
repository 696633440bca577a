"""Returns of the snapshots of a policy file on fresh seeds."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from pathlib import Path

import gymnasium
import numpy as np

from ractd_jax.files import check_writable
from ractd_jax.recording.ant_maze import success_rates
from ractd_jax.recording.behaviour import (
    PolicySnapshots,
    load_snapshots,
    save_snapshots,
)
from ractd_jax.recording.rollouts import record_episode
from ractd_jax.tasks.ant_maze import DIRECTION
from ractd_jax.tasks.environments import registered_spec


def rate_snapshots(
    path: str | os.PathLike, num_episodes: int, seed: int
) -> PolicySnapshots:
    """Rates each snapshot of a policy file, which is rewritten.

    An ant's that walks in a direction is rated in the mazes, too: its share of
    arrivals without noise stands under ``arrivals`` in the metadata.

    Args:
      path: of the file.
      num_episodes: of each snapshot.
      seed: of the first episode.

    Returns:
      The snapshots with the new ratings in their metadata.

    Raises:
      DataError: the file holds no snapshots.
    """
    path = Path(path)
    stored = load_snapshots(path)
    check_writable(path)
    environment_id = stored.metadata["environment"]
    seeds = range(seed, seed + num_episodes)
    jobs = [(environment_id, policy, seeds) for policy in stored.policies.values()]
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        rated = dict(zip(stored.policies, pool.map(_returns_of, jobs), strict=True))
    snapshots = {
        name: {
            "env_steps": about["env_steps"],
            "return_mean": float(np.mean(rated[name])),
            "return_std": float(np.std(rated[name])),
            "episodes": num_episodes,
        }
        for name, about in stored.metadata["snapshots"].items()
    }
    metadata = {**stored.metadata, "snapshots": snapshots, "rating_seed": seed}
    if environment_id == DIRECTION:
        metadata["arrivals"] = success_rates(stored.role("expert"), num_episodes, seed)
    found = dataclasses.replace(stored, metadata=metadata)
    save_snapshots(path, found)
    return found


def _returns_of(job) -> list[float]:
    """True returns of stochastic episodes."""
    environment_id, policy, seeds = job
    env = gymnasium.make(registered_spec(environment_id) or environment_id)
    return [float(record_episode(env, policy, seed).rewards.sum()) for seed in seeds]
