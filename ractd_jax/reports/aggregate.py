"""Statistics over training runs, with stratified bootstrap intervals.

After Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
Precipice". Scores are one array per task, [R_t]: one score for each run (training seed)
of that task; an array [R, T] does as well. Each task weighs the same, however many runs
it has.

Every statistic is a function of scores and of weights, one array [B, R_t] per task
whose rows sum to 1: equal weights give the estimate, the counts of a resample its
bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Scores = np.ndarray | Sequence[np.ndarray]
Statistic = Callable[[list[np.ndarray], list[np.ndarray]], np.ndarray]

CONFIDENCE = 0.95
RESAMPLES = 10_000


class Estimate(NamedTuple):
    """A statistic and its percentile bootstrap interval.

    Attributes:
      value: the statistic of the runs themselves; a float, or [K].
      low: lower end; None where some task has fewer than two runs.
      high: upper end, or None.
    """

    value: float | np.ndarray
    low: float | np.ndarray | None
    high: float | np.ndarray | None


def as_tasks(scores: Scores) -> list[np.ndarray]:
    """One float64 array [R_t] per task, from that or from an array [R, T].

    Raises:
      ValueError: no task, a task without runs, or scores that are not finite.
    """
    columns = scores.T if isinstance(scores, np.ndarray) else scores
    tasks = [np.asarray(column, np.float64) for column in columns]
    if not tasks or any(task.ndim != 1 or len(task) == 0 for task in tasks):
        raise ValueError(
            "scores: expected [R, T] or one [R] per task, none of them empty, found "
            f"{[list(task.shape) for task in tasks]}"
        )
    if not all(np.isfinite(task).all() for task in tasks):
        raise ValueError("scores: expected finite numbers, found NaN or infinity")
    return tasks


def mean(tasks: list[np.ndarray], weights: list[np.ndarray]) -> np.ndarray:
    """[B] means over tasks of the means over runs."""
    return _task_means(tasks, weights).mean(axis=0)


def median(tasks: list[np.ndarray], weights: list[np.ndarray]) -> np.ndarray:
    """[B] medians over tasks of the means over runs; below three tasks, means."""
    return np.median(_task_means(tasks, weights), axis=0)


def iqm(tasks: list[np.ndarray], weights: list[np.ndarray]) -> np.ndarray:
    """[B] interquartile means, over the middle half of the runs of all tasks.

    A run on a quartile counts with the share of it that lies inside, so that exactly a
    half is left; a trimmed mean of whole runs (scipy's trim_mean, rliable) is the same
    where four divides their number, and keeps more where it does not.
    """
    values, shares = _pooled(tasks, weights)
    order = np.argsort(values)
    shares = shares[:, order]
    upper = np.cumsum(shares, axis=1)
    inside = np.clip(upper, 0.25, 0.75) - np.clip(upper - shares, 0.25, 0.75)
    return inside @ values[order] / inside.sum(axis=1)


def estimate(
    scores: Scores, statistic: Statistic, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """A statistic of the scores, and its 95% stratified bootstrap interval."""
    tasks = as_tasks(scores)
    sizes = [len(task) for task in tasks]
    value = statistic(tasks, _equal_weights(sizes))[0]
    if min(sizes) < 2:
        return Estimate(float(value), None, None)
    rng = np.random.default_rng(seed)
    low, high = _interval(statistic(tasks, _resampled_weights(sizes, resamples, rng)))
    return Estimate(float(value), float(low), float(high))


def probability_of_improvement(
    scores: Scores, others: Scores, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """P(X > Y) of a run of `scores` against one of `others` on the same task.

    Mann-Whitney's U over the number of pairs, ties a half, averaged over tasks; both
    sides are resampled, independently of each other.

    Raises:
      ValueError: different numbers of tasks.
    """
    ours, theirs = as_tasks(scores), as_tasks(others)
    wins = [_wins(x, y) for x, y in zip(ours, theirs, strict=True)]
    sizes, other_sizes = [len(x) for x in ours], [len(y) for y in theirs]

    def average(weights, other_weights):
        won = [
            ((a @ win) * b).sum(axis=1)
            for a, win, b in zip(weights, wins, other_weights, strict=True)
        ]
        return np.mean(won, axis=0)

    value = average(_equal_weights(sizes), _equal_weights(other_sizes))[0]
    if min(sizes + other_sizes) < 2:
        return Estimate(float(value), None, None)
    rng = np.random.default_rng(seed)
    resampled = _resampled_weights(sizes, resamples, rng)
    low, high = _interval(
        average(resampled, _resampled_weights(other_sizes, resamples, rng))
    )
    return Estimate(float(value), float(low), float(high))


def performance_profile(
    scores: Scores, thresholds: np.ndarray, resamples: int = 2_000, seed: int = 0
) -> Estimate:
    """Share of runs with a score above each of `thresholds` [K].

    Returns:
      Estimates [K]; the band is pointwise.
    """
    tasks = as_tasks(scores)
    sizes = [len(task) for task in tasks]

    def shares(weights):
        values, pooled = _pooled(tasks, weights)
        return pooled @ (values[:, None] > thresholds)

    value = shares(_equal_weights(sizes))[0]
    if min(sizes) < 2:
        return Estimate(value, None, None)
    rng = np.random.default_rng(seed)
    resampled = _resampled_weights(sizes, resamples, rng)
    return Estimate(value, *_interval(shares(resampled)))


def _equal_weights(sizes):
    return [np.full((1, size), 1.0 / size) for size in sizes]


def _resampled_weights(sizes, resamples, rng):
    """Per task [B, R_t]: how often a resample with replacement took each run, over R_t.

    The counts of R_t equally likely draws are multinomial.
    """
    return [
        rng.multinomial(size, np.full(size, 1.0 / size), resamples) / size
        for size in sizes
    ]


def _interval(values):
    """Percentile interval of bootstrapped values [B, ...]."""
    tail = (1.0 - CONFIDENCE) / 2.0
    return np.quantile(values, (tail, 1.0 - tail), axis=0)


def _task_means(tasks, weights):
    return np.stack([w @ task for task, w in zip(tasks, weights, strict=True)])


def _pooled(tasks, weights):
    """All runs [N] and their weights [B, N], which sum to 1 over the tasks."""
    return np.concatenate(tasks), np.concatenate(weights, axis=1) / len(tasks)


def _wins(ours, theirs):
    """[R, S]: 1 where the first score is larger, 0.5 where they tie."""
    return (np.sign(ours[:, None] - theirs) + 1.0) / 2.0
