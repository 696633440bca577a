"""d3rlpy's dumps of both versions, read back, and damaged ones refused by name."""

import numpy as np
import pytest

from ractd_jax.errors import DataError
from tests.readers.layouts import (
    ENDS,
    LENGTHS,
    SIZE,
    TERMINALS,
    assert_episodes,
    d3rlpy_arrays,
    mdp_dataset_arrays,
    read,
    save_hdf5,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "buffer.h5"


@pytest.mark.parametrize("arrays", [d3rlpy_arrays, mdp_dataset_arrays])
def test_round_trip(path, arrays):
    """Of float64 by episode and of flat float32."""
    save_hdf5(path, arrays())
    episodes, origin = read("d3rlpy", path)
    assert_episodes(episodes)
    assert origin.has_rewards and origin.environment_id == ""


def test_without_episode_terminals_only_terminals_end_episodes(path):
    arrays = mdp_dataset_arrays()
    del arrays["episode_terminals"]
    save_hdf5(path, arrays)
    episodes, _ = read("d3rlpy", path)
    # The last seven steps are an episode that the recording cut off.
    assert episodes.starts.tolist() == [0, 5, 9, SIZE]
    np.testing.assert_array_equal(episodes.terminals, TERMINALS)
    assert not episodes.timeouts.any()


def test_a_terminal_ends_an_episode_whatever_the_other_flag_says(path):
    arrays = mdp_dataset_arrays()
    arrays["episode_terminals"] = np.float32(ENDS & ~TERMINALS)
    save_hdf5(path, arrays)
    assert_episodes(read("d3rlpy", path)[0])


@pytest.mark.parametrize(
    ("field", "values", "words"),
    [
        ("rewards_2", None, "found nothing"),
        ("terminated_1", None, "expected 0 or 1, found nothing"),
        ("terminated_1", 3, "0 or 1"),
        ("num_episodes", 0, "1 or more, found 0"),
        ("num_episodes", "four", "1 or more"),
        ("actions_0", np.zeros((5, 1), np.int32), "continuous actions.*int32"),
        ("actions_3", np.zeros((7, 3)), "2 columns, as actions_0 has, found 3"),
        ("actions_3", np.zeros((6, 2)), "7 rows, as observations_3 have, found 6"),
        ("observations_1", np.zeros((1, 4, 4, 1), np.uint8), "rank 2"),
        ("observations_1", np.full((1, 4), np.inf), "inf in row 0"),
        ("observations_1", np.zeros((0, 4)), "non-empty"),
    ],
)
def test_a_wrong_field_of_a_buffer_is_named(path, field, values, words):
    arrays = d3rlpy_arrays()
    arrays[field] = values
    save_hdf5(path, {name: v for name, v in arrays.items() if v is not None})
    with pytest.raises(DataError, match=words) as caught:
        read("d3rlpy", path)
    assert (caught.value.path, caught.value.field) == (str(path), field)


def test_tuples_of_observations_are_refused(path):
    arrays = d3rlpy_arrays()
    for episode in range(len(LENGTHS)):
        part = arrays.pop(f"observations_{episode}")
        arrays[f"observations_{episode}_0"] = part
    save_hdf5(path, arrays)
    with pytest.raises(DataError, match="an array, found a tuple of arrays"):
        read("d3rlpy", path)


@pytest.mark.parametrize(
    ("field", "values", "words"),
    [
        ("actions", np.arange(SIZE, dtype=np.int32), "continuous actions.*int32"),
        ("terminals", None, "found nothing"),
        ("episode_terminals", np.full(SIZE, 2.0), "0 or 1"),
        ("episode_terminals", np.ones(SIZE - 2), f"expected {SIZE} rows"),
        ("rewards", np.float64([np.nan] * SIZE), "nan in row 0"),
    ],
)
def test_a_wrong_field_of_an_mdp_dataset_is_named(path, field, values, words):
    arrays = mdp_dataset_arrays()
    arrays[field] = values
    save_hdf5(path, {name: v for name, v in arrays.items() if v is not None})
    with pytest.raises(DataError, match=words) as caught:
        read("d3rlpy", path)
    assert (caught.value.path, caught.value.field) == (str(path), field)


def test_other_files_are_refused(path):
    with pytest.raises(DataError, match="an HDF5 file of d3rlpy, found no such file"):
        read("d3rlpy", path)
    save_hdf5(path, d3rlpy_arrays())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="a whole HDF5 file"):
        read("d3rlpy", path)
