"""Closed-loop evaluation of many trainings' planners together, as one program."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.evaluation.results import EpisodeResults
from ractd_jax.evaluation.rollout import EpisodeKeys, run_episodes
from ractd_jax.inputs import fixed_numerics
from ractd_jax.planning import Planner
from ractd_jax.settings import Environment


class _MembersLoop:
    """Plans of each episode's own member, ``plan.execute`` actions of each.

    Episode e is member e // E's. A member's batch is padded, and halves with the most
    episodes that one of them still has, so that few programs are compiled.
    """

    def __init__(self, planner: Planner, params: Any, num_episodes: int, keys):
        with fixed_numerics():
            sampler = planner.sampler_of(planner.method.network)
            self._weights = jax.jit(jax.vmap(sampler.prepare))(params)
        self._count = len(jax.tree.leaves(params)[0])
        self._num_episodes, self._keys = num_episodes, keys
        self._history = planner.dims.history
        self._size, self._compiled = num_episodes, set()
        self.compile_seconds = 0.0

        self._execute = planner.execute
        self._held = np.zeros((self._count * num_episodes, self._execute, 0))

        def act(weights, observations, keys):
            first_only = self._execute == 1
            plans = planner.plan_fn(weights, observations, keys, first_only)
            return plans[:, None] if first_only else plans[:, : self._execute]

        self._act = jax.jit(jax.vmap(act))

    def act(
        self, observations: np.ndarray, episodes: np.ndarray, step: int
    ) -> np.ndarray:
        offset = step % self._execute
        if offset == 0:
            plans = self._plan(observations, episodes, step)
            if not self._held.shape[-1]:
                shape = (*self._held.shape[:2], plans.shape[-1])
                self._held = np.zeros(shape, plans.dtype)
            self._held[episodes] = plans
        return self._held[episodes, offset]

    def _plan(self, observations, episodes, step):
        members = episodes // self._num_episodes
        counts = np.bincount(members, minlength=self._count)
        while counts.max() <= self._size // 2:
            self._size //= 2
        starts = np.cumsum(counts) - counts
        rows = members, np.arange(len(episodes)) - starts[members]
        shape = (self._count, self._size)
        if self._history == 1:
            observations = observations[:, 0]
        padded = np.zeros((*shape, *observations.shape[1:]), np.float32)
        padded[rows] = observations
        own = np.zeros(shape, np.int64)
        own[rows] = episodes % self._num_episodes
        begin = time.perf_counter()
        keys = self._keys(own.ravel(), step).reshape(shape)
        actions = np.asarray(self._act(self._weights, padded, keys))
        if self._size not in self._compiled:
            self._compiled.add(self._size)
            self.compile_seconds += time.perf_counter() - begin
        return actions[rows]


def evaluate_members(
    planner: Planner,
    params: Any,
    environment: Environment,
    num_episodes: int,
    seed: int,
    noise: str = "each_step",
) -> list[EpisodeResults]:
    """As :func:`rollout.evaluate_planner` for each of M trainings, all together.

    Args:
      planner: the planner of one member; members differ only in their parameters.
      params: parameters of all members, leaves [M, ...].
      environment: the environment to make, M E times.
      num_episodes: E, episodes of each; episode e is reset with ``seed + e``.
      seed: seed of the first reset.
      noise: see :class:`rollout.EpisodeKeys`.

    Returns:
      [M] results, each with the seconds of all.

    Raises:
      ConfigError: the environment cannot be made, or is not the data's.
    """
    keys = EpisodeKeys(num_episodes, seed, noise)
    policy = _MembersLoop(planner, params, num_episodes, keys)
    count = len(jax.tree.leaves(params)[0])
    seeds = np.tile(seed + np.arange(num_episodes), count)
    found = run_episodes(policy, planner.dims, environment, seeds)
    parts = {
        name: np.split(field, count)
        for name, field in found._asdict().items()
        if name not in ("seconds", "event_names")
    }
    return [
        EpisodeResults(
            seconds=found.seconds,
            event_names=found.event_names,
            **{name: part[i] for name, part in parts.items()},
        )
        for i in range(count)
    ]


def member_params(params: Any, index: int) -> Any:
    """One training's parameters out of [M, ...]."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[index]), params)
