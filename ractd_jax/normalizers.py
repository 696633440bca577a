"""Normalisers: maps between environment units and the networks' units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class MinMaxNormalizer(NamedTuple):
    """Affine map of each dimension's [low, high] to [-1, 1].

    A constant dimension (high = low) is only shifted. It works on numpy arrays and
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
        """Plain lists; float32 numbers survive JSON exactly."""
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


class ZScoreNormalizer(NamedTuple):
    """Each dimension to mean 0 and standard deviation 1, clipped at `clip`.

    A constant dimension is only shifted. :meth:`unnormalize` does not
    restore a clipped value.

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
        std, mean = np.asarray(self.std), np.asarray(self.mean)
        # Below the precision of the data it is rounding, not variation.
        varies = std > 1e-6 * np.maximum(np.abs(mean), 1e-6)
        return np.where(varies, std, 1.0).astype(np.float32)

    def normalize(self, x):
        """[..., D] data units -> normalised."""
        return ((x - np.asarray(self.mean)) / self._scale).clip(-self.clip, self.clip)

    def unnormalize(self, x):
        """[..., D] normalised -> data units."""
        return x * self._scale + np.asarray(self.mean)

    def to_dict(self) -> dict:
        """Plain numbers; float32 numbers survive JSON exactly."""
        return {
            "mean": np.asarray(self.mean, np.float64).tolist(),
            "std": np.asarray(self.std, np.float64).tolist(),
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


def normalizer_from_dict(stored: Mapping) -> Normalizer:
    """The normaliser that ``to_dict`` described."""
    kind = ZScoreNormalizer if "mean" in stored else MinMaxNormalizer
    return kind.from_dict(stored)


def fit_zscore(x: np.ndarray) -> ZScoreNormalizer:
    """The z-score normaliser of data [N, D]."""
    return ZScoreNormalizer(
        x.mean(axis=0, dtype=np.float64).astype(np.float32),
        x.std(axis=0, dtype=np.float64).astype(np.float32),
    )


def fit_min_max(x: np.ndarray) -> MinMaxNormalizer:
    """The normaliser of data [N, D]."""
    return MinMaxNormalizer(
        np.asarray(x.min(axis=0), np.float32), np.asarray(x.max(axis=0), np.float32)
    )
