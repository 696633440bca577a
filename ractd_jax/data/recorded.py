"""An episode as it was recorded, before it becomes a part of a dataset."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class RecordedEpisode(NamedTuple):
    """One episode of T steps as the environment gave it.

    Attributes:
      observations: [T + 1, O] float32, the last one after the final step.
      actions: [T, A] float32, or [T] int64 of discrete ones.
      rewards: [T] float32.
      terminated: whether the environment ended it.
      truncated: whether the time limit ended it.
      seed: seed of the reset and of the policy's noise.
      goals: [T + 1, G] float32 goal in force at each observation, or None.
      options: of the reset, or None.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool
    truncated: bool
    seed: int
    goals: np.ndarray | None = None
    options: dict[str, Any] | None = None
