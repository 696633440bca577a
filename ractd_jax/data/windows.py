"""Windows of episodes: an int32 index, and functions that gather a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ractd_jax.data.episodes import Episodes
from ractd_jax.errors import DataError

PADDINGS = ("repeat_last", "drop")
# (states [B, H, O], [B, H] whether each has arrived) -> states as they then are.
ArriveFn = Callable[[Any, Any], Any]


class WindowIndex(NamedTuple):
    """Where each of W windows starts, and which episode it lies in; all int32.

    Attributes:
      start: [W] first transition of each window.
      episode: [W] episode of each window.
      bounds: [E + 1] episode e is ``bounds[e] : bounds[e + 1]``.
    """

    start: np.ndarray
    episode: np.ndarray
    bounds: np.ndarray


def index_windows(
    episodes: Episodes, horizon: int, padding: str, source: object = "dataset"
) -> WindowIndex:
    """Indexes every window of `horizon` steps; none crosses an episode's end.

    Args:
      episodes: the episodes.
      horizon: H, steps of a plan.
      padding: ``repeat_last`` starts a window at every step and repeats the last
        action past the end; ``drop`` (Duan et al.'s code) drops episodes not longer
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
    counts = counts.astype(np.int32)
    episode = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    # The windows of an episode start one after the other.
    before = np.cumsum(counts, dtype=np.int32) - counts
    start = np.arange(len(episode), dtype=np.int32)
    start += (episodes.starts[:-1] - before)[episode]
    return WindowIndex(start, episode, episodes.starts)


def window_actions(actions, index: WindowIndex, rows, horizon: int):
    """[B, H, A] plans of the windows `rows` [B].

    Past an episode's end its last action repeats. The result is an array of the same
    library, numpy or JAX, as the arguments.
    """
    steps = index.start[rows][:, None] + np.arange(horizon, dtype=np.int32)
    last = index.bounds[index.episode[rows] + 1] - 1
    return actions[steps.clip(max=last[:, None])]


def window_states(observations, index: WindowIndex, rows, horizon: int, stride: int):
    """[B, H, O] every `stride`-th state from the starts of the windows `rows` [B].

    Past an episode's end its last state repeats. The result is an array of the same
    library, numpy or JAX, as the arguments.
    """
    return window_arrivals(
        observations, index, rows, horizon, horizon, stride, lambda states, _: states
    )


def window_arrivals(
    observations,
    index: WindowIndex,
    rows,
    lags,
    horizon: int,
    stride: int,
    arrive: ArriveFn,
):
    """[B, H, O] as :func:`window_states`, staying in the state that each arrives in.

    From its state `lags` on, a window repeats that one, as it is when it has arrived.

    Args:
      observations: [N, O], environment units.
      index: the index of the windows.
      rows: [B] windows.
      lags: [B] states of a window before the arrival.
      horizon: H.
      stride: transitions between two states of a window.
      arrive: (states [B, H, O], [B, H] which have arrived) -> states.
    """
    offsets = stride * np.arange(horizon, dtype=np.int32)
    steps = index.start[rows][:, None] + offsets
    last = index.bounds[index.episode[rows] + 1] - 1
    arrival = (index.start[rows] + stride * lags).clip(max=last)[:, None]
    states = observations[steps.clip(max=arrival)]
    return arrive(states, steps >= arrival)


def plan_waypoints(plans, last, count: int):
    """[B, count, D] steps that cut each plan's way into count + 1 equal parts.

    Args:
      plans: [B, H, D].
      last: [B] the step at which a plan's way ends, at most H - 1.
      count: waypoints.
    """
    parts = np.arange(1, count + 1, dtype=np.int32)
    steps = last[:, None] * parts // (count + 1)
    rows = np.arange(len(plans), dtype=np.int32)[:, None]
    return plans[rows, steps]


def window_history(observations, index: WindowIndex, rows, history: int):
    """[B, h, O] observations up to each window's start, oldest first.

    Before an episode's beginning its first observation repeats. The result is an array
    of the same library, numpy or JAX, as the arguments.
    """
    steps = index.start[rows][:, None] + np.arange(1 - history, 1, dtype=np.int32)
    first = index.bounds[index.episode[rows]]
    return observations[steps.clip(min=first[:, None])]
