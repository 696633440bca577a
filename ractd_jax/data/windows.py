"""Windows of episodes: an int32 index, and a gather of what a batch needs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ractd_jax.data.episodes import Episodes
from ractd_jax.errors import DataError

PADDINGS = ("repeat_last", "drop")


class WindowIndex(NamedTuple):
    """Where each of W windows starts, and the episode it lies in; int32 [W] each.

    Attributes:
      start: the transition a plan is made for.
      first: first transition of its episode.
      last: last transition of its episode.
    """

    start: np.ndarray
    first: np.ndarray
    last: np.ndarray


def index_windows(
    episodes: Episodes, horizon: int, padding: str, source: object = "dataset"
) -> WindowIndex:
    """Indexes every window of `horizon` steps; none crosses an episode's end.

    Args:
      episodes: the episodes.
      horizon: H, steps of a plan.
      padding: ``repeat_last`` starts a window at every step and repeats the last
        action past the end; ``drop`` (the released code) drops episodes not longer
        than H and the last H steps of the others as starts.
      source: named in errors.

    Raises:
      DataError: no window is left, because every episode is too short.
      ValueError: an unknown padding.
    """
    if padding not in PADDINGS:
        raise ValueError(f"padding must be one of {PADDINGS}, not {padding!r}")
    lengths = episodes.lengths
    counts = lengths if padding == "repeat_last" else np.maximum(lengths - horizon, 0)
    if counts.sum() == 0:
        raise DataError(
            source,
            expected=f"an episode longer than the horizon of {horizon} steps "
            "(padding='drop')",
            found=f"a longest episode of {lengths.max()} steps",
        )
    first = np.repeat(episodes.starts[:-1], counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    last = np.repeat(episodes.starts[1:] - 1, counts)
    return WindowIndex(
        (first + within).astype(np.int32), first.astype(np.int32), last.astype(np.int32)
    )


def window_actions(actions, index: WindowIndex, rows, horizon: int):
    """[B, H, A] plans of the windows `rows` [B]; past the end the last repeats.

    Of numpy arrays a numpy array, of JAX arrays a JAX array.
    """
    steps = index.start[rows][:, None] + np.arange(horizon, dtype=np.int32)
    return actions[steps.clip(max=index.last[rows][:, None])]


def window_history(observations, index: WindowIndex, rows, history: int):
    """[B, h, O] observations up to each window's start, oldest first.

    Before the episode's beginning its first observation repeats. Of numpy arrays a
    numpy array, of JAX arrays a JAX array.
    """
    steps = index.start[rows][:, None] + np.arange(1 - history, 1, dtype=np.int32)
    return observations[steps.clip(min=index.first[rows][:, None])]
