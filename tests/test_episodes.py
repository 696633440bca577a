"""Episodes: what is refused, where episodes end, and the returns to go."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ractd_jax.data.episodes import build_episodes, concatenate, return_to_go
from ractd_jax.errors import DataError

SOURCE = "some/file.hdf5"

# Steps of each episode, and how it ends: by the environment or by the time limit.
structures = st.lists(
    st.tuples(st.integers(1, 7), st.sampled_from(["terminal", "timeout"])),
    min_size=1,
    max_size=6,
)


def make_fields(structure, cut_off: int = 0) -> dict[str, np.ndarray]:
    """Fields whose every value tells its row; `cut_off` steps follow the last end."""
    total = sum(length for length, _ in structure) + cut_off
    rows = np.arange(total, dtype=np.float32)
    terminals, timeouts = np.zeros((2, total), bool)
    end = -1
    for length, kind in structure:
        end += length
        {"terminal": terminals, "timeout": timeouts}[kind][end] = True
    return {
        "observations": np.stack([rows, -rows], axis=1),
        "actions": rows[:, None] / 8,
        "rewards": rows + 1,
        "terminals": terminals,
        "timeouts": timeouts,
    }


@pytest.fixture
def fields():
    """Two episodes of 3 and 2 steps."""
    return make_fields([(3, "terminal"), (2, "timeout")])


def _missing(array):
    return None


def _shorter(array):
    return array[:-1]


def _empty(array):
    return array[:0]


def _objects(array):
    return array.astype(object)


def _strings(array):
    return array.astype(str)


def _third_axis(array):
    return np.stack([array, array], axis=-1)[:, None]


def _with(value, row=3):
    def spoil(array):
        array = array.astype(np.float64)
        array[(row,) + (0,) * (array.ndim - 1)] = value
        return array

    return spoil


EVERY_FIELD = ("observations", "actions", "rewards", "terminals", "timeouts")
NUMBERS = EVERY_FIELD[:3]
FLAGS = EVERY_FIELD[3:]
BAD_INPUTS = [
    *[
        (name, spoil, words)
        for name in EVERY_FIELD
        for spoil, words in (
            (_missing, "nothing"),
            (_empty, "shape (0"),
            (_objects, "object"),
            (_strings, "expected numbers"),
            (_third_axis, "expected a non-empty array of rank"),
        )
    ],
    # The observations set the length, so a short one shows in the next field.
    *[(name, _shorter, "expected 5 rows") for name in EVERY_FIELD[1:]],
    ("observations", lambda array: array[:, :0], "shape (5, 0)"),
    ("actions", lambda array: array[:, 0], "rank 2"),
    *[(name, _with(np.nan), "nan in row 3") for name in NUMBERS],
    *[(name, _with(-np.inf), "-inf in row 3") for name in NUMBERS],
    *[(name, _with(1e300), "inf in row 3") for name in NUMBERS],
    *[(name, _with(value), "0 or 1") for name in FLAGS for value in (2, -1, 0.5)],
    *[(name, _with(np.nan), "0 or 1") for name in FLAGS],
]


@pytest.mark.parametrize(("name", "spoil", "words"), BAD_INPUTS)
def test_bad_field_is_refused_by_name(fields, name, spoil, words):
    """The error names the source, the field, and what is wrong with it."""
    spoilt = spoil(fields[name])
    fields = {**fields, name: spoilt}
    if spoilt is None:
        del fields[name]
    with pytest.raises(DataError) as caught:
        build_episodes(fields, SOURCE)
    assert caught.value.path == SOURCE
    assert caught.value.field == name
    assert str(caught.value).startswith(f"{SOURCE}: field '{name}': expected ")
    assert words in str(caught.value)


def test_shorter_observations_are_refused(fields):
    """Lengths that differ raise whichever field is short."""
    fields["observations"] = fields["observations"][:-1]
    with pytest.raises(DataError, match="expected 4 rows, .* found 5"):
        build_episodes(fields, SOURCE)


def test_other_dtypes_become_float32_and_bool(fields):
    """float64, integer flags, [N, 1] vectors and lists are read as they are meant."""
    wide = {name: array.astype(np.float64) for name, array in fields.items()}
    wide["rewards"] = wide["rewards"][:, None] + 1 / 3
    wide["timeouts"] = fields["timeouts"].astype(int).tolist()
    episodes = build_episodes(wide, SOURCE)
    for name in NUMBERS:
        assert getattr(episodes, name).dtype == np.float32
    assert episodes.terminals.dtype == episodes.timeouts.dtype == bool
    np.testing.assert_array_equal(
        episodes.rewards, np.float32([4 / 3, 7 / 3, 10 / 3, 13 / 3, 16 / 3])
    )
    np.testing.assert_array_equal(episodes.observations, fields["observations"])
    np.testing.assert_array_equal(episodes.starts, [0, 3, 5])


def test_step_that_is_terminal_and_timeout_ends_one_episode(fields):
    fields["timeouts"][2] = True
    assert build_episodes(fields, SOURCE).starts.tolist() == [0, 3, 5]


def test_lengths_and_returns():
    """By hand: rewards 1 2 3 | 4 5 | 6 with a last step that was cut off."""
    fields = make_fields([(3, "terminal"), (2, "timeout")], cut_off=1)
    episodes = build_episodes(fields, SOURCE)
    assert episodes.starts.dtype == np.int32
    assert episodes.num_transitions == 6
    assert episodes.num_episodes == 3
    np.testing.assert_array_equal(episodes.lengths, [3, 2, 1])
    np.testing.assert_array_equal(episodes.returns, [6.0, 9.0, 6.0])
    assert episodes.returns.dtype == np.float64


@settings(max_examples=60)
@given(structures, st.integers(0, 3))
def test_episodes_end_at_terminals_and_timeouts(structure, cut_off):
    """Starts add the recorded lengths up; what follows the last end is an episode."""
    lengths = [length for length, _ in structure] + [cut_off] * (cut_off > 0)
    episodes = build_episodes(make_fields(structure, cut_off), SOURCE)
    assert episodes.starts.tolist() == [0, *np.cumsum(lengths)]
    assert episodes.lengths.tolist() == lengths
    rewards = np.split(episodes.rewards, np.cumsum(lengths)[:-1])
    np.testing.assert_array_equal(episodes.returns, [part.sum() for part in rewards])


@settings(max_examples=40)
@given(st.lists(st.tuples(structures, st.integers(0, 2)), min_size=1, max_size=3))
def test_concatenate_keeps_every_episode(parts):
    """Lengths, returns and rows of the whole are those of the parts in order."""
    built = [build_episodes(make_fields(*part), SOURCE) for part in parts]
    whole = concatenate(built)
    assert whole.starts.dtype == np.int32
    for name in (*EVERY_FIELD, "lengths", "returns"):
        expected = np.concatenate([getattr(part, name) for part in built])
        np.testing.assert_array_equal(getattr(whole, name), expected)


def slow_return_to_go(episodes, discount, penalty):
    """The recursion of the definition, step by step."""
    result = np.zeros(episodes.num_transitions)
    ends = set((episodes.starts[1:] - 1).tolist())
    for i in reversed(range(episodes.num_transitions)):
        reward = float(episodes.rewards[i]) + penalty * float(episodes.terminals[i])
        result[i] = reward if i in ends else reward + discount * result[i + 1]
    return result


@settings(max_examples=80)
@given(
    structures,
    st.integers(0, 3),
    st.floats(0, 1),
    st.sampled_from([0.0, -100.0, 2.5]),
    st.integers(0, 2**32 - 1),
)
def test_return_to_go_against_a_loop(structure, cut_off, discount, penalty, seed):
    """Equal for random structures, rewards, discounts and penalties."""
    fields = make_fields(structure, cut_off)
    rewards = np.random.default_rng(seed).normal(size=len(fields["rewards"]))
    episodes = build_episodes({**fields, "rewards": rewards}, SOURCE)
    found = return_to_go(episodes, discount, penalty)
    assert found.dtype == np.float32
    expected = slow_return_to_go(episodes, discount, penalty)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


def test_return_to_go_by_hand():
    """The penalty falls on a step the environment ended, not on a time limit."""
    fields = make_fields([(2, "terminal"), (2, "timeout")], cut_off=2)
    found = return_to_go(build_episodes(fields, SOURCE), 0.5, -100.0)
    expected = [1 - 0.5 * 98, 2 - 100, 3 + 0.5 * 4, 4, 5 + 0.5 * 6, 6]
    np.testing.assert_allclose(found, expected)


def test_return_to_go_of_a_long_episode():
    """A thousand steps of reward 1 sum to (1 - gamma^T) / (1 - gamma)."""
    fields = make_fields([(1000, "timeout")])
    fields["rewards"] = np.ones(1000)
    found = return_to_go(build_episodes(fields, SOURCE), 0.997)
    assert found[0] == pytest.approx((1 - 0.997**1000) / 0.003, rel=1e-6)
    assert found[-1] == 1.0
