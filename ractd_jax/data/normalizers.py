"""Min-max normalisation to [-1, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class MinMaxNormalizer(NamedTuple):
    """Affine map of each dimension's [low, high] to [-1, 1].

    A constant dimension (high = low) is only shifted. Works on numpy arrays and on
    traced JAX arrays alike.

    Attributes:
      low: [D] float32 minima over the data.
      high: [D] float32 maxima.
    """

    low: np.ndarray
    high: np.ndarray

    @property
    def _half_range(self) -> np.ndarray:
        low, high = np.asarray(self.low), np.asarray(self.high)
        return np.where(high > low, (high - low) / 2, 1.0).astype(np.float32)

    @property
    def _centre(self) -> np.ndarray:
        low, high = np.asarray(self.low), np.asarray(self.high)
        return np.where(high > low, low + (high - low) / 2, low).astype(np.float32)

    def normalize(self, x):
        """[..., D] data units -> [-1, 1]."""
        return (x - self._centre) / self._half_range

    def unnormalize(self, x):
        """[..., D] [-1, 1] -> data units."""
        return x * self._half_range + self._centre

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists; float32 survives the way through JSON exactly."""
        return {
            "low": np.asarray(self.low, np.float64).tolist(),
            "high": np.asarray(self.high, np.float64).tolist(),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, list[float]]) -> MinMaxNormalizer:
        return cls(
            np.asarray(stored["low"], np.float32),
            np.asarray(stored["high"], np.float32),
        )

    def equals(self, other: MinMaxNormalizer) -> bool:
        return np.array_equal(self.low, other.low) and np.array_equal(
            self.high, other.high
        )


def fit_min_max(x: np.ndarray) -> MinMaxNormalizer:
    """The normaliser of data [N, D]."""
    return MinMaxNormalizer(
        np.asarray(x.min(axis=0), np.float32), np.asarray(x.max(axis=0), np.float32)
    )
