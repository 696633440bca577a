"""Chooses the windows that plans are learned from: all, the best, or weighted ones.

A faithful model of a mixture of policies acts as the mixture does. Its data is
therefore chosen before it learns, in the index of the windows: the training step,
streaming and sweeps draw uniformly from the windows in the index.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from ractd_jax.data.episodes import Episodes, return_to_go
from ractd_jax.data.windows import WindowIndex
from ractd_jax.errors import ConfigError
from ractd_jax.normalizers import is_spread
from ractd_jax.settings import Dataset

_NUM_FEATURES = 256
_BLOCK = 16_384
_RIDGE = 1e-4
_MOST_FITTED = 100_000


class ChosenWindows(NamedTuple):
    """Windows after weighting.

    Attributes:
      index: at most as many windows as before; some may occur several times.
      summary: JSON-able summary of the choice, see :func:`choose_windows`.
    """

    index: WindowIndex
    summary: dict


def choose_windows(
    index: WindowIndex,
    episodes: Episodes,
    options: Dataset,
    source: object = "dataset",
    advantages: np.ndarray | None = None,
) -> ChosenWindows:
    """The windows that ``dataset.weighting`` draws from.

    * ``uniform``: all of them.
    * ``top``: those of the episodes with the highest returns, whole episodes that
      together hold at most `top_fraction` of the transitions (the selection of
      percentile behaviour cloning; Chen et al., 2021).
    * ``advantage``: drawn with p ~ min(exp(beta A / std A), clip), where A = G - V(s),
      G is the discounted return-to-go and V a regression of it on the state
      (advantage-weighted regression; Peng et al., 2019). They are drawn once, by
      systematic resampling: window i occurs floor(N p_i) or ceil(N p_i) times.
    * ``both``: drawn as ``advantage`` from the windows of ``top``.

    Args:
      index: all windows of `episodes`.
      episodes: the episodes that the windows lie in.
      options: the settings.
      source: named in errors.
      advantages: [N] A of each step, in place of the return-to-go's.

    Returns:
      The windows; the summary has ``weighting``, ``windows`` (in the index),
      ``distinct`` (different ones), ``of`` (before), ``episodes`` (different ones) and
      ``return_mean`` (mean return of the episodes that the windows come from), and
      ``return_mean_uniform`` (the same for all windows).

    Raises:
      ConfigError: no window is left.
    """
    chosen = np.arange(len(index.start))
    if options.weighting in ("top", "both"):
        chosen = chosen[_best_episodes(episodes, options.top_fraction)[index.episode]]
        if not len(chosen):
            raise ConfigError(
                f"config.dataset.top_fraction: {options.top_fraction} of the "
                f"{episodes.num_transitions} transitions of {source} hold no window of "
                "a whole episode; the best one has "
                f"{episodes.lengths[episodes.returns.argmax()]} transitions: expected "
                "a larger fraction, or config.dataset.weighting = 'advantage' or "
                "'uniform', which keep every episode"
            )
    if options.weighting in ("advantage", "both"):
        if advantages is None:
            advantages = estimate_advantages(episodes, options.advantage_discount)
        advantages = advantages[index.start[chosen]]
        drawn = _resample(
            tilted_weights(advantages, options.advantage_beta, options.advantage_clip)
        )
        chosen = chosen[drawn]
    returns = episodes.returns
    episode = index.episode[chosen]
    summary = {
        "weighting": options.weighting,
        "windows": len(chosen),
        "distinct": len(np.unique(chosen)),
        "of": len(index.start),
        "episodes": len(np.unique(episode)),
        "return_mean": float(returns[episode].mean()),
        "return_mean_uniform": float(returns[index.episode].mean()),
    }
    if options.weighting == "uniform":
        return ChosenWindows(index, summary)
    start = index.start[chosen]
    return ChosenWindows(WindowIndex(start, episode, index.bounds), summary)


def describe_windows(summary: dict) -> str:
    """The summary of :func:`choose_windows` as a sentence."""
    return (
        f"{summary['weighting']} weighting: {summary['distinct']} of {summary['of']} "
        f"windows, from {summary['episodes']} episodes; mean return of their episodes "
        f"{summary['return_mean']:.1f} (uniform: {summary['return_mean_uniform']:.1f})"
    )


def _best_episodes(episodes: Episodes, fraction: float) -> np.ndarray:
    """[E] bool: the best whole episodes that hold at most `fraction` of the steps."""
    order = np.argsort(-episodes.returns, kind="stable")
    held = np.cumsum(episodes.lengths[order])
    keep = np.zeros(episodes.num_episodes, bool)
    keep[order[held <= fraction * episodes.num_transitions]] = True
    return keep


# Cached: the stages of a pipeline need the same advantages.
@functools.lru_cache(maxsize=1)
def estimate_advantages(episodes: Episodes, discount: float) -> np.ndarray:
    """[N] G - V(s), in units of the reward; read-only.

    V is fitted twice. Where a time limit or the recording cut an episode off, its
    return-to-go is completed by the first fit's value of its last state; otherwise late
    states would look worse than they are.
    """
    features = _features(episodes.observations)
    values = _fit_values(features, return_to_go(episodes, discount))
    last = episodes.starts[1:] - 1
    cut = last[~episodes.terminals[last]]
    rewards = episodes.rewards.astype(np.float32).copy()
    rewards[cut] += discount * values[cut]
    returns = return_to_go(dataclasses.replace(episodes, rewards=rewards), discount)
    advantages = returns - _fit_values(features, returns)
    if not is_spread(advantages.std(dtype=np.float64), np.abs(returns).max()):
        # All returns are the same number, and the fit missed it by rounding.
        advantages = np.zeros_like(advantages)
    advantages.setflags(write=False)
    return advantages


def tilted_weights(advantages: np.ndarray, beta: float, clip: float) -> np.ndarray:
    """min(exp(beta A / std A), clip); all 1 where the advantages do not differ."""
    std = advantages.std(dtype=np.float64)
    if not is_spread(std, np.abs(advantages).max()):
        return np.ones(len(advantages))
    exponents = beta * advantages.astype(np.float64) / std
    return np.exp(np.minimum(exponents, np.log(clip)))


def _resample(weights: np.ndarray) -> np.ndarray:
    """[N] sorted indices, each floor or ceil of N p_i times (systematic resampling)."""
    total = np.cumsum(weights)
    places = (np.arange(len(weights)) + 0.5) * (total[-1] / len(weights))
    return np.searchsorted(total, places).clip(max=len(weights) - 1)


def _features(observations: np.ndarray) -> np.ndarray:
    """[N, F] float32 random Fourier features of z-scored states.

    Rahimi and Recht, 2007.

    A ridge regression on them approximates one with a Gaussian kernel, in closed form,
    so that the same data gives the same values without a training.
    """
    rng = np.random.default_rng(0)
    mean = observations.mean(axis=0, dtype=np.float64)
    std = observations.std(axis=0, dtype=np.float64)
    scale = np.where(is_spread(std, mean), std, np.inf)
    size = observations.shape[1]
    # Half of the features see the state at half the resolution.
    width = np.repeat([1.0, 0.5], _NUM_FEATURES // 2)
    kernel = rng.standard_normal((size, _NUM_FEATURES)) * width / np.sqrt(size)
    phase = rng.uniform(0.0, 2.0 * np.pi, _NUM_FEATURES)
    kernel, phase = np.float32(kernel), np.float32(phase)
    result = np.empty((len(observations), _NUM_FEATURES + size + 1), np.float32)
    for start in range(0, len(observations), _BLOCK):
        block = observations[start : start + _BLOCK]
        scored = np.float32((block - mean) / scale).clip(-5.0, 5.0)
        waves = np.cos(scored @ kernel + phase)
        ones = np.ones((len(block), 1), np.float32)
        result[start : start + _BLOCK] = np.concatenate([waves, scored, ones], axis=1)
    return result


def _fit_values(features: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """[N] the ridge regression of `returns` on `features`."""
    stride = -(-len(features) // _MOST_FITTED)
    size = features.shape[1]
    gram, moment = np.zeros((size, size)), np.zeros(size)
    centre = returns.mean(dtype=np.float64)
    for start in range(0, len(features), _BLOCK * stride):
        stop = start + _BLOCK * stride
        block = features[start:stop:stride]
        gram += block.T @ block
        moment += block.T @ np.float32(returns[start:stop:stride] - centre)
    gram += _RIDGE * np.trace(gram) / size * np.eye(size)
    solution = np.linalg.solve(gram, moment).astype(np.float32)
    return features @ solution + np.float32(centre)
