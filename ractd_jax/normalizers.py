"""Normalisers: maps between environment units and the networks' units.

A dimension whose values float32 hardly tells apart is constant: 0 in normalised form,
whatever comes in, and its one value in environment units, whatever a network says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

_FLOAT = np.finfo(np.float32)
# Values that differ by no more than eight of float32's steps differ by rounding.
_ROUNDING = 8 * float(_FLOAT.eps)
# Half of a wider spread is a normal float32, which XLA does not flush to zero.
_LEAST_SPREAD = 4 * float(_FLOAT.tiny)
_TAIL = 0.01


def is_spread(spread, size):
    """Whether values spread wider than float32's rounding; numbers or arrays, alike.

    Args:
      spread: range or standard deviation of the values.
      size: their largest magnitude, or their mean's.
    """
    return (spread > _ROUNDING * np.abs(size)) & (spread > _LEAST_SPREAD)


class MinMaxNormalizer(NamedTuple):
    """Affine map of each dimension's [low, high] to [-1, 1].

    A constant dimension is 0 in normalised form and `low` in data units. It works on
    numpy arrays and traced JAX arrays alike.

    Attributes:
      low: [D] float32 minima over the data.
      high: [D] float32 maxima.
    """

    low: np.ndarray
    high: np.ndarray

    # In float64: the range of float32 numbers may be no float32 number.
    @property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.low, np.float64), np.asarray(self.high, np.float64)

    @property
    def _half_range(self) -> np.ndarray:
        """[D] float32; 0 for a constant."""
        low, high = self._bounds
        varies = is_spread(high - low, np.maximum(np.abs(low), np.abs(high)))
        return np.where(varies, (high - low) / 2, 0.0).astype(np.float32)

    @property
    def _centre(self) -> np.ndarray:
        low, high = self._bounds
        middle = np.where(self._half_range > 0, low + (high - low) / 2, low)
        return middle.astype(np.float32)

    def normalize(self, x):
        """[..., D] data units -> [-1, 1]."""
        return (x - self._centre) / _divisor(self._half_range)

    def unnormalize(self, x):
        """[..., D] [-1, 1] -> data units."""
        return x * self._half_range + self._centre

    def to_dict(self) -> dict:
        """Plain numbers; float32 numbers survive JSON exactly."""
        return {"low": _plain(self.low), "high": _plain(self.high)}

    @classmethod
    def from_dict(cls, stored: Mapping) -> MinMaxNormalizer:
        return cls(
            np.asarray(stored["low"], np.float32),
            np.asarray(stored["high"], np.float32),
        )

    def equals(self, other: MinMaxNormalizer) -> bool:
        return np.array_equal(self.low, other.low) and np.array_equal(
            self.high, other.high
        )


class RobustNormalizer(MinMaxNormalizer):
    """The same map of a range that single outliers do not widen, clipped to [-1, 1].

    Values outside of [low, high] are clipped, so that normalised data lie in [-1, 1]
    as those of :class:`MinMaxNormalizer` do. ``unnormalize`` does not restore a
    clipped value.
    """

    __slots__ = ()

    def normalize(self, x):
        """[..., D] data units -> [-1, 1]."""
        return super().normalize(x).clip(-1.0, 1.0)

    def to_dict(self) -> dict:
        return {**super().to_dict(), "clip": 1.0}


class ZScoreNormalizer(NamedTuple):
    """Each dimension to mean 0 and standard deviation 1, clipped at `clip`.

    A constant dimension is 0 in normalised form and `mean` in data units.
    :meth:`unnormalize` does not restore a clipped value.

    Attributes:
      mean: [D] float32 means over the data.
      std: [D] float32 standard deviations.
      clip: largest size of a normalised value.
    """

    mean: np.ndarray
    std: np.ndarray
    clip: float = 5.0

    @property
    def _scale(self) -> np.ndarray:
        """[D] float32; 0 for a constant."""
        std, mean = (np.asarray(x, np.float64) for x in (self.std, self.mean))
        return np.where(is_spread(std, mean), std, 0.0).astype(np.float32)

    def normalize(self, x):
        """[..., D] data units -> normalised."""
        scored = (x - np.asarray(self.mean)) / _divisor(self._scale)
        return scored.clip(-self.clip, self.clip)

    def unnormalize(self, x):
        """[..., D] normalised -> data units."""
        return x * self._scale + np.asarray(self.mean)

    def to_dict(self) -> dict:
        """Plain numbers; float32 numbers survive JSON exactly."""
        return {
            "mean": _plain(self.mean),
            "std": _plain(self.std),
            "clip": float(self.clip),
        }

    @classmethod
    def from_dict(cls, stored: Mapping) -> ZScoreNormalizer:
        return cls(
            np.asarray(stored["mean"], np.float32),
            np.asarray(stored["std"], np.float32),
            stored["clip"],
        )


Normalizer = MinMaxNormalizer | ZScoreNormalizer

# A change's usual size is a fourth of what its plan can hold.
_USUAL_CHANGES = 4.0


class Changes(NamedTuple):
    """Plans of states as changes from their start, each step in units of its own.

    So a planned state near the start is as precise as one far from it, which inverse
    dynamics need: in units of the data's range a few steps change next to nothing.

    Attributes:
      scale: [H, O] float32, in normalised units; larger changes are clipped.
      limit: largest size of a normalised state of the data.
    """

    scale: np.ndarray
    limit: float

    def encode(self, states):
        """[..., H, O] normalised states -> [..., H, O] in [-1, 1], 0 at the start."""
        changes = states - states[..., :1, :]
        return (changes / _divisor(self.scale)).clip(-1.0, 1.0)

    def decode(self, plans, start):
        """The inverse of :meth:`encode` from the normalised `start` [..., O] on."""
        return start[..., None, :] + plans * self.scale

    def to_dict(self) -> dict:
        return {"scale": _plain(self.scale), "limit": float(self.limit)}

    @classmethod
    def from_dict(cls, stored: Mapping) -> Changes:
        return cls(np.asarray(stored["scale"], np.float32), stored["limit"])


def fit_changes(windows: np.ndarray) -> Changes:
    """Of normalised windows [N, H, O]: four times the root mean square changes."""
    changes = np.square(windows - windows[:, :1], dtype=np.float64)
    size = _USUAL_CHANGES * np.sqrt(changes.mean(axis=0))
    scale = np.where(is_spread(size, 1.0), size, 0.0).astype(np.float32)
    return Changes(scale, float(np.abs(windows).max()))


def normalizer_from_dict(stored: Mapping) -> Normalizer | Changes:
    """The normaliser, or the changes, that ``to_dict`` described."""
    if "scale" in stored:
        return Changes.from_dict(stored)
    if "mean" in stored:
        return ZScoreNormalizer.from_dict(stored)
    kind = RobustNormalizer if "clip" in stored else MinMaxNormalizer
    return kind.from_dict(stored)


def fit_min_max(x: np.ndarray) -> MinMaxNormalizer:
    """The min-max normaliser of data [N, D]."""
    return MinMaxNormalizer(
        np.asarray(x.min(axis=0), np.float32), np.asarray(x.max(axis=0), np.float32)
    )


def fit_robust(x: np.ndarray) -> RobustNormalizer:
    """The robust normaliser of data [N, D].

    A dimension's range ends where its data end, but no further beyond its 1% and 99%
    quantiles than these are apart. So data without outliers are mapped as by
    :func:`fit_min_max`, and with outliers the rest fills a third of [-1, 1] or more. A
    dimension whose two quantiles are the same number, such as a flag that is hardly
    ever set, keeps its whole range.
    """
    return RobustNormalizer(
        *np.array([_robust_range(column) for column in x.T], np.float32).T.copy()
    )


def _robust_range(values: np.ndarray) -> tuple[float, float]:
    """(low, high) of one dimension's [N] values."""
    # Values themselves, not means of two: one of them might be the outlier.
    first = float(np.quantile(values, _TAIL, method="higher"))
    last = float(np.quantile(values, 1.0 - _TAIL, method="lower"))
    low, high = float(values.min()), float(values.max())
    if not is_spread(last - first, max(abs(first), abs(last))):
        return low, high
    return max(low, 2 * first - last), min(high, 2 * last - first)


def fit_zscore(x: np.ndarray) -> ZScoreNormalizer:
    """The z-score normaliser of data [N, D]."""
    return ZScoreNormalizer(
        x.mean(axis=0, dtype=np.float64).astype(np.float32),
        x.std(axis=0, dtype=np.float64).astype(np.float32),
    )


# By their names in the settings.
FITS = {"minmax": fit_min_max, "zscore": fit_zscore, "robust": fit_robust}


def _divisor(scale: np.ndarray) -> np.ndarray:
    """`scale`, or infinity for 0: every finite number over it is 0."""
    return np.where(scale > 0, scale, np.float32(np.inf))


def _plain(x: np.ndarray) -> list[float]:
    return np.asarray(x, np.float64).tolist()
