"""Steps that change the observation so much that they may cross a missed ending."""

from __future__ import annotations

import dataclasses

import numpy as np

from ractd_jax.data.episodes import Episodes

_BLOCK = 1 << 16
# Steps that the usual changes are estimated from.
_SAMPLE = 1 << 16
# Share of the steps that change a dimension by no more than its usual change. The
# median would not do: a point that hits a wall stops within a step.
_USUAL = 0.99
# A jump changes this many dimensions by more than this many times their usual change.
# Most resets of Hopper, HalfCheetah, PointMaze and kitchen do; within episodes only a
# point that flies into a corner at full speed did.
JUMP_DIMENSIONS = 2
JUMP_FACTOR = 6.0
# Least share of a dimension's range that counts as a jump: an object that rests at
# nearly all steps would otherwise jump whenever it is moved.
_LEAST_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Jumps:
    """Steps within episodes that change the observation unusually much.

    Attributes:
      count: how many.
      first_transition: the first one leads from here to the next; None without any.
      largest: the largest of all steps, in multiples of the usual change.
    """

    count: int
    first_transition: int | None
    largest: float


def find_jumps(episodes: Episodes, low: np.ndarray, high: np.ndarray) -> Jumps:
    """Counts the steps that change the observation unusually much.

    A jump suggests an ending that the data does not mark. The count is a hint, not a
    proof: unmarked endings at more than one step in a hundred pass as usual changes,
    and a reset to nearly the same state is no jump.

    Args:
      episodes: the episodes; steps from one to the next do not count.
      low: [O] least finite value of each observation dimension.
      high: [O] greatest.
    """
    observations = episodes.observations
    within = np.ones(len(observations), bool)
    within[episodes.starts[1:] - 1] = False
    usual = _usual_changes(observations, np.flatnonzero(within))
    moving = np.flatnonzero(usual > 0)
    if len(moving) == 0:
        return Jumps(0, None, 0.0)
    usual = np.maximum(usual, _LEAST_SHARE * (high - low) / JUMP_FACTOR)[moving]
    count, first, largest = 0, None, 0.0
    for start in range(0, len(observations) - 1, _BLOCK):
        block = observations[start : start + _BLOCK + 1, moving]
        multiples = _changes(block[:-1], block[1:]) / usual
        counts = within[start : start + len(multiples)]
        counts = counts & np.isfinite(multiples).all(axis=1)
        multiple = np.where(counts, _nth_largest(multiples, JUMP_DIMENSIONS), 0.0)
        jumps = np.flatnonzero(multiple > JUMP_FACTOR)
        if first is None and len(jumps):
            first = start + int(jumps[0])
        count += len(jumps)
        largest = max(largest, float(multiple.max()))
    return Jumps(count, first, largest)


def _usual_changes(observations: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[O] quantiles of the finite changes from evenly spaced `rows`; 0 without any."""
    rows = rows[:: max(1, len(rows) // _SAMPLE)]
    changes = _changes(observations[rows], observations[rows + 1])
    changes = changes[np.isfinite(changes).all(axis=1)]
    if len(changes) == 0:
        return np.zeros(observations.shape[1])
    return np.quantile(changes, _USUAL, axis=0)


def _changes(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.abs(np.subtract(after, before, dtype=np.float64))


def _nth_largest(values: np.ndarray, n: int) -> np.ndarray:
    """The n-th largest value of each row of `values` [B, D], or the least for D < n."""
    place = max(values.shape[1] - n, 0)
    return np.partition(values, place, axis=1)[:, place]
