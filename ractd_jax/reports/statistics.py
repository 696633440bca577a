"""Scores and intervals, computed from saved raw returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ractd_jax.evaluation.results import EpisodeResults
from ractd_jax.settings import Environment


def normalized_score(returns: np.ndarray, environment: Environment) -> np.ndarray:
    """100 (R - min) / (max - min) with D4RL's reference returns."""
    if environment.score_max is None or environment.score_min is None:
        return np.asarray(returns)
    span = environment.score_max - environment.score_min
    return 100.0 * (np.asarray(returns) - environment.score_min) / span


def bootstrap_interval(
    values: np.ndarray, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` [n].

    An interval over the episodes of one training says nothing about other seeds.
    """
    rng = np.random.default_rng(seed)
    means = rng.choice(values, (resamples, len(values))).mean(axis=1)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, (tail, 1.0 - tail))
    return float(low), float(high)


def two_mode_threshold(values: np.ndarray) -> float:
    """The value that splits `values` [n] in two with the least variance within.

    Otsu's criterion over the midpoints between neighbouring values; with a
    single distinct value it is that value.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    cuts = np.flatnonzero(np.diff(ordered) > 0) + 1
    if len(cuts) == 0:
        return float(ordered[0])
    total, below = ordered.sum(), np.cumsum(ordered)[cuts - 1]
    above_count = len(ordered) - cuts
    gap = below / cuts - (total - below) / above_count
    best = cuts[np.argmax(cuts * above_count * gap**2)]
    return float((ordered[best - 1] + ordered[best]) / 2)


def summarize(results: EpisodeResults, environment: Environment) -> dict:
    """JSON-able statistics of one evaluation; scores are of true returns.

    ``events`` is among them where the environment family names some.
    """
    scores = normalized_score(results.returns, environment)
    low, high = bootstrap_interval(scores)
    running_max = normalized_score(results.running_max_returns, environment)
    return {
        "episodes": len(scores),
        "score_mean": float(scores.mean()),
        "score_interval_95": [low, high],
        "score_median": float(np.median(scores)),
        "score_std": float(scores.std()),
        "return_mean": float(results.returns.mean()),
        "length_mean": float(results.lengths.mean()),
        "running_max_score": float(running_max.mean()),
        "env_steps_per_s": results.steps_per_second,
        "failed_episodes": results.num_failed,
        **({"events": summarize_events(results)} if len(results.event_names) else {}),
    }


def summarize_events(results: EpisodeResults) -> dict[str, dict]:
    """Event -> the share of episodes in which it happened, and its median step there.

    The step is None for an event that never happened.
    """
    found = {}
    for name, steps in zip(results.event_names, results.events.T, strict=True):
        done = steps[steps >= 0]
        found[str(name)] = {
            "share": len(done) / len(steps),
            "median_step": float(np.median(done)) if len(done) else None,
        }
    return found


def seed_interval(
    scores: Sequence[float], confidence: float = 0.95
) -> tuple[float, float] | None:
    """Student's t interval of the mean of `scores`, one of each training seed.

    With four seeds a percentile bootstrap covers the mean in under 80% of cases; this
    interval is exact for normal scores. None for fewer than two.
    """
    if len(scores) < 2:
        return None
    # Half a second to import, and planners never need it.
    from scipy.stats import t

    mean, size = float(np.mean(scores)), len(scores)
    error = float(np.std(scores, ddof=1)) / size**0.5
    half = float(t.ppf((1.0 + confidence) / 2.0, size - 1)) * error
    return mean - half, mean + half
