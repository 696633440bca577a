"""Windows against a reference that walks through the episodes step by step."""

import functools
import itertools
from typing import NamedTuple

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ractd_jax.data.episodes import build_episodes
from ractd_jax.data.windows import (
    PADDINGS,
    WindowIndex,
    index_windows,
    window_actions,
    window_arrivals,
    window_history,
    window_states,
)
from ractd_jax.errors import DataError
from ractd_jax.tasks import Task


def make_episodes(lengths):
    """Observation [row, episode], action [row]: every value tells where it is from."""
    total = sum(lengths)
    rows = np.arange(total, dtype=np.float32)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    timeouts = np.zeros(total, bool)
    timeouts[np.cumsum(lengths) - 1] = True
    fields = {
        "observations": np.stack([rows, episode], axis=1),
        "actions": rows[:, None],
        "rewards": rows,
        "terminals": np.zeros(total, bool),
        "timeouts": timeouts,
    }
    return build_episodes(fields, "made up")


class SlowWindow(NamedTuple):
    """Rows of one window, in the flat arrays."""

    start: int
    action_rows: list[int]
    history_rows: list[int]


def slow_windows(lengths, horizon, padding, history):
    """Every window, one episode after the other, from Python lists."""
    windows, offset = [], 0
    for length in lengths:
        rows = list(range(offset, offset + length))
        for i in range(length):
            if padding == "drop" and i + horizon >= length:
                continue
            ahead = rows[i : i + horizon]
            ahead += [rows[-1]] * (horizon - len(ahead))
            behind = rows[max(0, i - history + 1) : i + 1]
            behind = [rows[0]] * (history - len(behind)) + behind
            windows.append(SlowWindow(rows[i], ahead, behind))
        offset += length
    return windows


def slow_arrivals(lengths, horizon, padding, lags, stride):
    """(rows, whether at rest) [W][H] of a walk to each window's arrival."""
    ends, walks = list(itertools.accumulate(lengths)), []
    for window, lag in zip(
        slow_windows(lengths, horizon, padding, 1), lags, strict=True
    ):
        last = next(end for end in ends if end > window.start) - 1
        row, rows, rest = window.start, [], []
        for step in range(horizon):
            arrived = step >= lag or row == last
            rows.append(row)
            rest.append(arrived)
            row = row if arrived else min(row + stride, last)
        walks.append((rows, rest))
    return map(np.array, zip(*walks, strict=True))


MAX_ROWS = 40
_plans = jax.jit(window_actions, static_argnames="horizon")
_histories = jax.jit(window_history, static_argnames="history")
_arrivals = jax.jit(window_arrivals, static_argnames=("horizon", "stride", "arrive"))

# By the size of the goal; the same functions, so that none compiles anew.
ARRIVE = {
    size: functools.partial(Task().arrive, goal_size=size) for size in range(1, 4)
}


def pad(array):
    """One length for all, or each example would compile anew."""
    return np.concatenate([array, np.repeat(array[-1:], MAX_ROWS, 0)])[:MAX_ROWS]


def gather(episodes, index, horizon, history):
    """(action rows [W, H], observations [W, h, 2]) of every window, as numpy."""
    number, index = len(index.start), WindowIndex(*map(pad, index))
    rows = np.arange(MAX_ROWS) % number
    plans = _plans(pad(episodes.actions), index, rows, horizon=horizon)
    past = _histories(pad(episodes.observations), index, rows, history=history)
    return np.asarray(plans)[:number, :, 0], np.asarray(past)[:number]


cases = st.fixed_dictionaries(
    {
        "lengths": st.lists(st.integers(1, 8), min_size=1, max_size=5),
        "horizon": st.integers(1, 6),
        "history": st.integers(1, 4),
        "padding": st.sampled_from(PADDINGS),
    }
)


@settings(max_examples=80)
@given(cases)
def test_windows_equal_a_slow_reference(case):
    """Starts, plans and histories of every window, in order."""
    expected = slow_windows(**case)
    episodes = make_episodes(case["lengths"])
    if not expected:
        with pytest.raises(DataError):
            index_windows(episodes, case["horizon"], case["padding"])
        return
    index = index_windows(episodes, case["horizon"], case["padding"])
    assert [array.dtype for array in index] == [np.int32] * 3
    assert index.start.tolist() == [window.start for window in expected]
    plans, histories = gather(episodes, index, case["horizon"], case["history"])
    np.testing.assert_array_equal(plans, [window.action_rows for window in expected])
    np.testing.assert_array_equal(
        histories[..., 0], [window.history_rows for window in expected]
    )


@settings(max_examples=60)
@given(cases)
def test_windows_never_cross_an_episode_end(case):
    """All rows of a window are of one episode, whose bounds the index tells."""
    episodes = make_episodes(case["lengths"])
    owner = episodes.observations[:, 1].astype(int)
    try:
        index = index_windows(episodes, case["horizon"], case["padding"])
    except DataError:
        return
    plans, histories = gather(episodes, index, case["horizon"], case["history"])
    start_owner = owner[index.start]
    assert (owner[plans.astype(int)] == start_owner[:, None]).all()
    assert (histories[..., 1] == start_owner[:, None]).all()
    np.testing.assert_array_equal(index.episode, start_owner)
    np.testing.assert_array_equal(index.bounds, episodes.starts)


@settings(max_examples=80)
@given(cases, st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_arrivals_equal_a_slow_walk(case, stride, goal_size, seed):
    """On to the lag or the episode's end, and at rest from there on."""
    lengths, horizon, padding = case["lengths"], case["horizon"], case["padding"]
    arrive = ARRIVE[goal_size]
    episodes = make_episodes(lengths)
    try:
        index = index_windows(episodes, horizon, padding)
    except DataError:
        return
    number = len(index.start)
    lags = np.random.default_rng(seed).integers(1, max(horizon, 2), number)
    rows, rest = slow_arrivals(lengths, horizon, padding, lags, stride)
    # Nowhere zero, so that what is zero was made zero.
    observations = 1.0 + np.arange(3) * 100.0 + episodes.observations[:, :1]
    expected = observations[rows]
    expected[..., goal_size:] *= ~rest[..., None]
    owner = episodes.observations[:, 1]
    np.testing.assert_array_equal(owner[rows], owner[rows][:, :1].repeat(horizon, 1))

    found = window_arrivals(
        observations.astype(np.float32),
        index,
        np.arange(number),
        lags,
        horizon,
        stride,
        arrive,
    )
    assert isinstance(found, np.ndarray) and found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    traced = _arrivals(
        pad(observations.astype(np.float32)),
        WindowIndex(*map(pad, index)),
        np.arange(MAX_ROWS) % number,
        lags[np.arange(MAX_ROWS) % number],
        horizon=horizon,
        stride=stride,
        arrive=arrive,
    )
    np.testing.assert_array_equal(np.asarray(traced)[:number], expected)


def test_arrivals_by_hand():
    """An episode of 4: lag 2, a lag past its end, and a start in its last state."""
    observations = np.array([[1, 7], [2, 7], [3, 7], [4, 7], [5, 7]], np.float32)
    index = index_windows(make_episodes([4, 1]), 4, "repeat_last")
    rows, lags = np.array([0, 2, 3]), np.array([2, 3, 1])
    found = window_arrivals(observations, index, rows, lags, 4, 1, ARRIVE[1])
    expected = [
        [[1, 7], [2, 7], [3, 0], [3, 0]],
        [[3, 7], [4, 0], [4, 0], [4, 0]],
        [[4, 0], [4, 0], [4, 0], [4, 0]],
    ]
    np.testing.assert_array_equal(found, expected)
    found = window_states(observations, index, rows[1:], 4, 1)
    expected = [[[3, 7], [4, 7], [4, 7], [4, 7]], [[4, 7]] * 4]
    np.testing.assert_array_equal(found, expected)
    found = window_states(observations, index, rows[:1], 3, 2)
    np.testing.assert_array_equal(found, [[[1, 7], [3, 7], [4, 7]]])


def test_drop_by_hand():
    """Episodes of 3, 4 and 6 steps at H = 4: one survives, with 2 of its starts."""
    index = index_windows(make_episodes([3, 4, 6]), 4, "drop")
    assert index.start.tolist() == [7, 8]
    assert index.episode.tolist() == [2, 2]
    assert index.bounds.tolist() == [0, 3, 7, 13]


def test_repeat_last_by_hand():
    """Every step starts a window; past the end the last action repeats."""
    episodes = make_episodes([1, 3])
    index = index_windows(episodes, 3, "repeat_last")
    plans = window_actions(episodes.actions, index, np.arange(4), 3)
    expected = [[0, 0, 0], [1, 2, 3], [2, 3, 3], [3, 3, 3]]
    np.testing.assert_array_equal(np.asarray(plans)[..., 0], expected)
    history = window_history(episodes.observations, index, np.arange(4), 2)
    expected = [[0, 0], [1, 1], [1, 2], [2, 3]]
    np.testing.assert_array_equal(np.asarray(history)[..., 0], expected)


def test_number_of_windows():
    """sum(T) with repeat_last, sum(max(T - H, 0)) with drop."""
    lengths = [20, 16, 17, 3]
    episodes = make_episodes(lengths)
    assert len(index_windows(episodes, 16, "repeat_last").start) == 56
    assert len(index_windows(episodes, 16, "drop").start) == 4 + 1


def test_too_short_dataset_names_the_horizon():
    """With drop and no episode longer than H nothing is left to train on."""
    with pytest.raises(DataError) as caught:
        index_windows(make_episodes([3, 5, 2]), 5, "drop", "short.hdf5")
    assert caught.value.path == "short.hdf5"
    assert "horizon of 5 steps" in str(caught.value)
    assert "longest episode of 5 steps" in str(caught.value)


def test_unknown_padding_is_refused():
    with pytest.raises(ValueError, match="'zeros'"):
        index_windows(make_episodes([3]), 2, "zeros")


@pytest.mark.parametrize("padding", PADDINGS)
def test_sampling_through_jit_equals_numpy(padding):
    """Traced rows and index arrays gather what plain numpy indexing does."""
    horizon, history = 4, 3
    episodes = make_episodes([2, 9, 5, 7])
    index = index_windows(episodes, horizon, padding)

    @jax.jit
    def sample(actions, observations, index: WindowIndex, rows):
        plans = window_actions(actions, index, rows, horizon)
        return plans, window_history(observations, index, rows, history)

    rows = np.random.default_rng(0).integers(0, len(index.start), 64)
    plans, histories = sample(episodes.actions, episodes.observations, index, rows)
    episode = index.episode[rows]
    first, last = index.bounds[episode][:, None], index.bounds[episode + 1][:, None] - 1
    start = index.start[rows][:, None]
    ahead = np.minimum(start + np.arange(horizon), last)
    behind = np.maximum(start - np.arange(history)[::-1], first)
    assert plans.shape == (64, horizon, 1)
    assert histories.shape == (64, history, 2)
    np.testing.assert_array_equal(plans, episodes.actions[ahead])
    np.testing.assert_array_equal(histories, episodes.observations[behind])
