"""OGBench's npz files, read back, and damaged ones refused by name."""

import numpy as np
import pytest

from ractd_jax.errors import DataError
from tests.readers.layouts import (
    ACTIONS,
    ENDS,
    LAST,
    OBSERVATIONS,
    REWARDS,
    SIZE,
    assert_episodes,
    ogbench_arrays,
    read,
)

NO_FLAGS = np.zeros(SIZE, bool)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pointmaze-medium-navigate-v0.npz"


def test_a_goal_conditioned_set_has_no_rewards(path, caplog):
    """Its trajectories are whole, and each was stopped by the clock."""
    np.savez(path, **ogbench_arrays())
    episodes, origin = read("ogbench", path)
    zeros = np.zeros(SIZE)
    assert_episodes(episodes, rewards=zeros, terminals=NO_FLAGS, timeouts=ENDS)
    assert not origin.has_rewards and origin.environment_id == ""
    assert "holds no 'rewards'" in caplog.text


def test_masks_are_terminals_within_whole_trajectories(path, caplog):
    """The task is done twice: within the last trajectory, and as the first one ends."""
    masks = np.ones(SIZE, np.float32)
    masks[[LAST[0], 11, 12]] = 0.0
    np.savez_compressed(path, **ogbench_arrays(), rewards=REWARDS, masks=masks)
    episodes, origin = read("ogbench", path)
    timeouts = ENDS & (np.arange(SIZE) != LAST[0])
    assert_episodes(episodes, terminals=masks == 0, timeouts=timeouts)
    assert origin.has_rewards
    assert "flagged at 2 steps within its 4 episodes" in caplog.text


def test_the_compact_form_ends_where_valids_do(path):
    """There terminals mark the last two rows of each trajectory."""
    arrays = ogbench_arrays()
    arrays["valids"] = 1.0 - ENDS
    arrays["terminals"] = np.maximum(ENDS, np.append(ENDS[1:], True)).astype(float)
    np.savez(path, **arrays, rewards=REWARDS)
    assert_episodes(read("ogbench", path)[0], terminals=NO_FLAGS, timeouts=ENDS)


def with_nan(values, row):
    values = np.array(values, np.float64)
    values[row] = np.nan
    return values


@pytest.mark.parametrize(
    ("field", "values", "words"),
    [
        ("actions", None, "expected an array, found nothing"),
        ("terminals", None, "expected an array, found nothing"),
        ("observations", np.zeros((SIZE, 8, 8, 3), np.uint8), "rank 2, found shape"),
        ("observations", with_nan(OBSERVATIONS, 6), "found nan in row 6"),
        ("rewards", np.full(SIZE, 1e300), "finite float32 numbers, found inf in row 0"),
        ("actions", np.zeros((SIZE, 2), np.int32), "continuous actions.*found int32"),
        ("actions", ACTIONS[:, 0], "rank 2"),
        ("observations", OBSERVATIONS[:0], "non-empty"),
        ("masks", np.ones(SIZE - 1), f"expected {SIZE} rows.*found {SIZE - 1}"),
        ("masks", np.full(SIZE, 0.5), "0 or 1"),
        ("rewards", np.array(["high"] * SIZE), "expected numbers"),
    ],
)
def test_a_wrong_field_is_named(path, field, values, words):
    arrays = {**ogbench_arrays(), "rewards": REWARDS, "masks": np.ones(SIZE)}
    arrays[field] = values
    np.savez(path, **{name: v for name, v in arrays.items() if v is not None})
    with pytest.raises(DataError, match=words) as caught:
        read("ogbench", path)
    assert (caught.value.path, caught.value.field) == (str(path), field)


def test_other_files_are_refused(path):
    """None, a folder, a text, a single array, objects, and every cut of a file."""
    with pytest.raises(DataError, match="a whole npz file.*no such file"):
        read("ogbench", path)
    with pytest.raises(DataError, match="found a folder"):
        read("ogbench", path.parent)
    np.savez_compressed(path, **ogbench_arrays())
    whole = path.read_bytes()
    contents = [b"observations, actions", *(whole[:n] for n in (0, 99, len(whole) - 1))]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(DataError, match="expected a whole npz file of OGBench"):
            read("ogbench", path)
    with open(path, "wb") as file:
        np.save(file, OBSERVATIONS)
    with pytest.raises(DataError, match="expected a whole npz file of OGBench"):
        read("ogbench", path)
    np.savez(path, **{**ogbench_arrays(), "actions": np.array([{}], object)})
    with pytest.raises(DataError, match="expected a whole npz file of OGBench"):
        read("ogbench", path)
