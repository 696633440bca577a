"""How the values of each dimension lie: their range, and where most of them are."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ractd_jax.inspection.checks import column_range
from ractd_jax.normalizers import MinMaxNormalizer, Normalizer, is_spread

# Rows that the cores are estimated from, and the fewest that have one.
_SAMPLE = 1 << 16
_FEWEST = 20
_BITS = 24
# Squares of larger numbers are infinite in float32.
LARGEST_ROOT = float(np.sqrt(np.finfo(np.float32).max))


@dataclasses.dataclass(frozen=True)
class Column:
    """The finite values of one dimension.

    Attributes:
      low: the least; infinite without any.
      high: the greatest.
      core_low: where the shortest interval begins that holds 99% of them.
      core_high: where it ends.
      held: the share of the values that it holds, less than 99% of few values.
      width: how wide it is in normalised units.
    """

    low: float
    high: float
    core_low: float
    core_high: float
    held: float
    width: float

    @property
    def size(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))

    @property
    def is_constant(self) -> bool:
        """Whether float32 tells none of the values apart, as normalisers judge it."""
        return not is_spread(self.high - self.low, self.size)

    @property
    def core_share(self) -> float:
        """Width of the core, as a share of the range; 1 of a constant."""
        span = self.high - self.low
        return (self.core_high - self.core_low) / span if span > 0 else 1.0

    @property
    def step(self) -> float:
        """How far apart float32's numbers are at the largest magnitude."""
        return _step(self.size)

    @property
    def core_step(self) -> float:
        """How far apart they are at the largest magnitude of the core."""
        return _step(max(abs(self.core_low), abs(self.core_high)))

    @property
    def stored_bits(self) -> float:
        """Of the 24 bits, those that tell the values apart as they are stored."""
        return _bits((self.high - self.low) / self.step)

    @property
    def normalized_bits(self) -> float:
        """Those that tell the values of the core apart beside numbers of size 1."""
        stored = (self.core_high - self.core_low) / self.core_step
        return _bits(min(stored, self.width / _step(1.0)))


def describe_columns(
    array: np.ndarray, normalizer: Normalizer | None = None
) -> tuple[Column, ...]:
    """A :class:`Column` for each dimension of `array` [N, D]; min-max by default."""
    low, high = column_range(array)
    rows = array[:: max(1, len(array) // _SAMPLE)]
    cores = [_core(rows[:, dimension]) for dimension in range(array.shape[1])]
    if normalizer is None:
        normalizer = MinMaxNormalizer(np.float32(low), np.float32(high))
    bounds = np.float32([core[:2] for core in cores]).T
    with np.errstate(over="ignore", invalid="ignore"):
        begins, ends = normalizer.normalize(bounds).astype(np.float64)
        widths = ends - begins
    return tuple(
        Column(float(least), float(most), *core, float(width))
        for least, most, core, width in zip(low, high, cores, widths, strict=True)
    )


def _core(values: np.ndarray) -> tuple[float, float, float]:
    """(begin, end, share held) of the shortest interval with 99% of [n] values."""
    values = np.sort(values[np.isfinite(values)]).astype(np.float64)
    size = len(values)
    if size < _FEWEST:
        return (*values[[0, -1]].tolist(), 1.0) if size else (np.inf, -np.inf, 1.0)
    kept = size - max(1, size // 100)
    begin = int(np.argmin(values[kept - 1 :] - values[: size - kept + 1]))
    return float(values[begin]), float(values[begin + kept - 1]), kept / size


def _step(size: float) -> float:
    return float(np.spacing(np.float32(size)))


def _bits(levels: float) -> float:
    return math.log2(min(max(levels, 1.0), 2.0**_BITS))
