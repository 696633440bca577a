"""Counts of things in recorded episodes.

Pure numpy. Rows are visited in blocks, so that nothing as large as the data is copied.
Values that are not finite are counted and otherwise left out.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from ractd_jax.data.episodes import Episodes

_BLOCK = 1 << 16
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
# Shares of the range between an action's bounds.
_OUTSIDE_TOLERANCE = 1e-5
_SATURATED_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Spread:
    """Quantiles and mean of finite values."""

    minimum: float
    p5: float
    p25: float
    median: float
    p75: float
    p95: float
    maximum: float
    mean: float


@dataclasses.dataclass(frozen=True)
class ActionRange:
    """Where N actions of A dimensions lie relative to their bounds.

    Attributes:
      low: [A] lower bounds, environment units.
      high: [A] upper bounds.
      outside: values beyond a bound.
      outside_share: their share of all N * A values.
      worst: how far beyond its bound the worst value lies; 0 without any.
      worst_transition: where that is; None without any.
      worst_dimension: which dimension that is; None without any.
      saturated_share: share of the values at a bound or beyond.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    outside: int
    outside_share: float
    worst: float
    worst_transition: int | None
    worst_dimension: int | None
    saturated_share: float


@dataclasses.dataclass(frozen=True)
class Endings:
    """How E episodes end; the first four add up to E.

    Attributes:
      terminal: ended by the environment.
      timeout: ended by the time limit.
      both: flagged as both at once.
      neither: cut off by the recording.
      early: flags before an episode's last step.
    """

    terminal: int
    timeout: int
    both: int
    neither: int
    early: int


def spread(values: np.ndarray) -> Spread | None:
    """Quantiles and mean of `values` [n]; None when none of them is finite."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return None
    quantiles = np.quantile(values.astype(np.float64), _QUANTILES).tolist()
    return Spread(*quantiles, float(values.mean(dtype=np.float64)))


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(array), _BLOCK):
        yield array[start : start + _BLOCK]


def count_non_finite(array: np.ndarray) -> int:
    """NaN and infinite values in `array`."""
    return sum(block.size - int(np.isfinite(block).sum()) for block in _blocks(array))


def column_range(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([C] least, [C] greatest) finite values; (inf, -inf) for a column without any."""
    low = np.full(array.shape[1], np.inf)
    high = -low
    for block in _blocks(array):
        finite = np.isfinite(block)
        low = np.minimum(low, block.min(axis=0, initial=np.inf, where=finite))
        high = np.maximum(high, block.max(axis=0, initial=-np.inf, where=finite))
    return low, high


def are_whole(array: np.ndarray) -> bool:
    """Whether every value of `array` is a whole number."""
    return all(bool((block == np.rint(block)).all()) for block in _blocks(array))


def action_range(actions: np.ndarray, low: ArrayLike, high: ArrayLike) -> ActionRange:
    """How `actions` [N, A] lie between `low` and `high`, each a number or [A]."""
    size = actions.shape[1]
    low, high = (np.broadcast_to(np.asarray(b, float), size) for b in (low, high))
    bounded = np.isfinite(low) & np.isfinite(high)
    span = np.subtract(high, low, out=np.zeros(size), where=bounded)
    outside = saturated = 0
    worst, where = 0.0, (None, None)
    for number, block in enumerate(_blocks(actions)):
        finite = np.isfinite(block)
        block = np.where(finite, block, 0.0)
        excess = np.where(finite, np.maximum(low - block, block - high), -np.inf)
        beyond = excess > _OUTSIDE_TOLERANCE * span
        outside += int(beyond.sum())
        saturated += int((excess >= -_SATURATED_TOLERANCE * span).sum())
        row, column = np.unravel_index(
            np.argmax(np.where(beyond, excess, 0.0)), excess.shape
        )
        if beyond[row, column] and excess[row, column] > worst:
            worst = float(excess[row, column])
            where = (number * _BLOCK + int(row), int(column))
    return ActionRange(
        tuple(low.tolist()),
        tuple(high.tolist()),
        outside,
        outside / actions.size,
        worst,
        *where,
        saturated / actions.size,
    )


def duplicate_groups(episodes: Episodes) -> tuple[tuple[int, ...], ...]:
    """Groups of episodes with the same observations, actions, rewards and goals.

    Episodes of one step are left out: they may be the same by chance.
    """
    fields = [episodes.observations, episodes.actions, episodes.rewards]
    if episodes.goals is not None:
        fields.append(episodes.goals)
    groups = collections.defaultdict(list)
    for episode in np.flatnonzero(episodes.lengths > 1).tolist():
        start, stop = episodes.starts[episode : episode + 2]
        content = hashlib.blake2b(digest_size=16)
        for field in fields:
            content.update(np.ascontiguousarray(field[start:stop]))
        groups[content.digest()].append(episode)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def count_endings(episodes: Episodes) -> Endings:
    last = episodes.starts[1:] - 1
    terminal, timeout = episodes.terminals[last], episodes.timeouts[last]
    flags = int(episodes.terminals.sum()) + int(episodes.timeouts.sum())
    return Endings(
        terminal=int((terminal & ~timeout).sum()),
        timeout=int((timeout & ~terminal).sum()),
        both=int((terminal & timeout).sum()),
        neither=int((~terminal & ~timeout).sum()),
        early=flags - int(terminal.sum()) - int(timeout.sum()),
    )


def usual_limit(episodes: Episodes) -> int | None:
    """The number of steps after which most timeouts come; None if there is none."""
    lengths = episodes.lengths[episodes.timeouts[episodes.starts[1:] - 1]]
    if len(lengths) == 0:
        return None
    values, counts = np.unique(lengths, return_counts=True)
    most = int(np.argmax(counts))
    common = counts[most] >= max(5, len(lengths) / 2)
    return int(values[most]) if common else None
