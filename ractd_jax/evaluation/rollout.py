"""Closed-loop evaluation: one episode per environment and seed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from ractd_jax.errors import DataError
from ractd_jax.evaluation.environments import (
    as_vector,
    check_spaces,
    make_vector_env,
)
from ractd_jax.planning import Planner
from ractd_jax.settings import Environment


class EpisodeResults(NamedTuple):
    """What E evaluation episodes gave, raw.

    Attributes:
      returns: [E] float64, sums of the rewards that the environment paid.
      lengths: [E] int64, steps.
      seeds: [E] int64, seed of each reset.
      running_max_returns: [E] float64, sums over steps of the largest reward so far.
        Not a return: it is what the released evaluator reports, kept only to stand
        beside the published tables.
      seconds: wall time of the episodes, compilation left out.
    """

    returns: np.ndarray
    lengths: np.ndarray
    seeds: np.ndarray
    running_max_returns: np.ndarray
    seconds: float

    @property
    def steps_per_second(self) -> float:
        return float(self.lengths.sum() / self.seconds)


def evaluate_planner(
    planner: Planner,
    environment: Environment,
    num_episodes: int,
    seed: int,
    noise: str = "each_step",
    on_step: Callable[[int, int], None] | None = None,
) -> EpisodeResults:
    """Runs one episode in each of `num_episodes` environments, replanning each step.

    Episode e is reset with ``seed + e`` and draws its noise from
    fold_in(fold_in(key(seed), e), step), so its result does not depend on the others.
    With ``noise="each_episode"`` the step is left out: every plan of an episode starts
    from the same noise, which sampling maps to the same mode in nearby states.
    Finished environments leave the batch; the planner's batch halves with them.

    Args:
      planner: executes the first action of each plan.
      environment: what to make.
      num_episodes: E.
      seed: first reset's seed.
      noise: ``each_step`` or ``each_episode``.
      on_step: called with (step, episodes still running).
    """
    vector = make_vector_env(environment, num_episodes)
    check_spaces(
        vector.single_observation_space, vector.single_action_space, planner.dims
    )
    seeds = seed + np.arange(num_episodes)
    episode_keys = jax.vmap(jax.random.fold_in, (None, 0))(
        jax.random.key(seed), np.arange(num_episodes)
    )
    fold_step = jax.jit(jax.vmap(jax.random.fold_in, (0, None)))

    def step_keys(keys, step):
        return fold_step(keys, step if noise == "each_step" else 0)

    observations, _ = vector.reset(seed=seeds.tolist())
    history = np.repeat(
        observations[:, None].astype(np.float32), planner.dims.history, axis=1
    )
    alive = np.arange(num_episodes)
    size = num_episodes
    returns, running_max = np.zeros((2, num_episodes))
    best = np.full(num_episodes, -np.inf)
    lengths = np.zeros(num_episodes, np.int64)
    _act(planner, history, step_keys(episode_keys, 0))
    compiling, begin, step = 0.0, time.perf_counter(), 0
    while len(alive):
        if len(alive) <= size // 2:
            size = max(size // 2, 1)
            start = time.perf_counter()
            _act(planner, *_pad(size, history, step_keys(episode_keys[alive], 0)))
            compiling += time.perf_counter() - start
        padded = np.resize(alive, size)
        keys = step_keys(episode_keys[padded], step)
        actions = _act(planner, np.resize(history, (size, *history.shape[1:])), keys)
        observations, rewards, terminated, truncated, _ = vector.step(
            actions[: len(alive)]
        )
        step += 1
        lengths[alive] += 1
        returns[alive] += rewards
        best[alive] = np.maximum(best[alive], rewards)
        running_max[alive] += best[alive]
        history = np.concatenate([history[:, 1:], observations[:, None]], axis=1)
        history = history.astype(np.float32)
        running = ~(terminated | truncated)
        if not running.all():
            alive, history = alive[running], history[running]
            live = [env for env, on in zip(vector.envs, running, strict=True) if on]
            for env, on in zip(vector.envs, running, strict=True):
                if not on:
                    env.close()
            if live:
                vector = as_vector(live)
        if on_step is not None:
            on_step(step, len(alive))
    seconds = time.perf_counter() - begin - compiling
    return EpisodeResults(returns, lengths, seeds, running_max, seconds)


def _pad(size: int, history: np.ndarray, keys: jax.Array):
    rows = np.resize(np.arange(len(history)), size)
    return history[rows], keys[rows]


def _act(planner: Planner, history: np.ndarray, keys: jax.Array) -> np.ndarray:
    observations = history[:, 0] if planner.dims.history == 1 else history
    return np.asarray(planner.act(observations, keys))


def save_results(path: str | os.PathLike, results: EpisodeResults) -> None:
    """Writes the raw results as npz; appears only when complete."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, **results._asdict())
    os.replace(temporary, path)


def load_results(path: str | os.PathLike) -> EpisodeResults:
    """Reads what :func:`save_results` wrote.

    Raises:
      DataError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            fields = {name: stored[name] for name in EpisodeResults._fields}
    except Exception as error:  # zipfile and numpy each raise their own
        raise DataError(path, expected="evaluation results", found=error) from None
    return EpisodeResults(**fields)
