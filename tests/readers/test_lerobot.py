"""LeRobot's folders of parquet files, read back, and damaged ones refused by name."""

import numpy as np
import pytest

from ractd_jax.errors import DataError
from tests.readers.layouts import (
    ENDS,
    OBSERVATIONS,
    SIZE,
    TERMINALS,
    assert_episodes,
    lerobot_columns,
    lerobot_info,
    read,
    save_lerobot,
)

pyarrow = pytest.importorskip(
    "pyarrow", reason="pyarrow is not installed (pip install ractd_jax[lerobot])"
)
NO_FLAGS = np.zeros(SIZE, bool)


@pytest.mark.parametrize("files", [1, 2, 4])
def test_round_trip(tmp_path, files, caplog):
    """An episode may go on in the next file."""
    save_lerobot(tmp_path, lerobot_columns(), files=files)
    episodes, origin = read("lerobot", tmp_path)
    assert_episodes(episodes)
    assert origin.has_rewards
    assert origin.observation_keys == "observation.grip,observation.state"
    assert "observation.images.top" in caplog.text


def test_version_2_and_frames_in_any_order(tmp_path):
    """Vectors as lists of any size, as other writers store them."""
    order = np.random.default_rng(5).permutation(SIZE)
    columns = {name: v[order] for name, v in lerobot_columns().items()}
    features = lerobot_info(columns)["features"]
    columns["action"] = pyarrow.array(columns["action"].tolist())
    save_lerobot(tmp_path, columns, codebase_version="v2.1", features=features)
    assert_episodes(read("lerobot", tmp_path)[0])


def test_chosen_keys(tmp_path):
    save_lerobot(tmp_path, lerobot_columns())
    keys = "observation.state,observation.grip"
    episodes, _ = read("lerobot", tmp_path, observation_keys=keys)
    assert_episodes(episodes, observations=np.roll(OBSERVATIONS, -1, axis=1))


def test_what_ends_an_episode(tmp_path):
    """Done is a terminal, but for a time limit and a failure."""
    columns = lerobot_columns()
    for case, (name, flags, terminals) in enumerate(
        (
            ("next.success", None, ENDS),
            ("next.truncated", ENDS & ~TERMINALS, TERMINALS),
            ("next.done", None, NO_FLAGS),
        )
    ):
        columns.pop(name, None)
        if flags is not None:
            columns[name] = flags
        folder = tmp_path / str(case)
        save_lerobot(folder, columns)
        timeouts = ENDS & ~terminals
        episodes, _ = read("lerobot", folder)
        assert_episodes(episodes, terminals=terminals, timeouts=timeouts)


def test_rewards_may_be_missing(tmp_path):
    columns = lerobot_columns()
    del columns["next.reward"]
    save_lerobot(tmp_path, columns)
    episodes, origin = read("lerobot", tmp_path)
    assert_episodes(episodes, rewards=np.zeros(SIZE))
    assert not origin.has_rewards


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("action", None, "a column, found nothing"),
        ("action", np.zeros((SIZE, 2), np.int64), "continuous actions.*int64"),
        ("observation.state", np.full((SIZE, 3), np.nan), "nan in row 0"),
        ("next.reward", np.full(SIZE, 1e300), "found inf in row 0"),
        ("next.done", np.full(SIZE, 2.0), "0 or 1"),
        ("frame_index", np.arange(SIZE), "frame 0 of episode 1, found frame 5"),
        ("next.reward", np.array(["high"] * SIZE), "numbers or vectors"),
    ],
)
def test_a_wrong_column_is_named(tmp_path, name, values, words):
    columns = lerobot_columns()
    features = lerobot_info(columns)["features"]
    columns[name] = values
    columns = {name: v for name, v in columns.items() if v is not None}
    save_lerobot(tmp_path, columns, features=features)
    with pytest.raises(DataError, match=words) as caught:
        read("lerobot", tmp_path)
    assert caught.value.field == name
    assert caught.value.path.startswith(str(tmp_path))


def test_ragged_vectors_and_holes_are_named(tmp_path):
    for case, (values, words) in enumerate(
        (
            ([[0.5, 0.5]] * (SIZE - 1) + [[0.5]], "vectors of one size"),
            ([[0.5, None]] * SIZE, f"found {SIZE} nulls"),
            ([[0.5, 0.5]] * (SIZE - 1) + [None], "vectors of one size"),
        )
    ):
        columns = lerobot_columns()
        features = lerobot_info(columns)["features"]
        columns["action"] = pyarrow.array(values)
        folder = tmp_path / str(case)
        save_lerobot(folder, columns, files=1, features=features)
        with pytest.raises(DataError, match=words) as caught:
            read("lerobot", folder)
        assert caught.value.field == "action"


def test_missing_and_damaged_files_are_named(tmp_path):
    """A folder of nothing, no info, another version, a lost and a cut file."""
    with pytest.raises(DataError, match="a LeRobot dataset.*No such file"):
        read("lerobot", tmp_path)
    save_lerobot(tmp_path, lerobot_columns())
    info = tmp_path / "meta/info.json"
    whole = info.read_text()
    for content, words in (
        (whole.replace("v3.0", "v1.6"), "version 2 or 3, found v1.6"),
        (whole.replace("total_frames", "frames"), "total_frames and features"),
        (whole[:-9], "expected JSON"),
        ("[]", "expected JSON"),
    ):
        info.write_text(content)
        with pytest.raises(DataError, match=words) as caught:
            read("lerobot", tmp_path)
        assert caught.value.path == str(info)
    info.write_text(whole)
    last = tmp_path / "data/chunk-000/file-001.parquet"
    content = last.read_bytes()
    last.write_bytes(content[:-20])
    with pytest.raises(DataError, match="a whole parquet file") as caught:
        read("lerobot", tmp_path)
    assert caught.value.path == str(last)
    last.unlink()
    with pytest.raises(DataError, match=f"{SIZE} frames.*found 8 in 1 files"):
        read("lerobot", tmp_path)
    last.with_name("file-000.parquet").unlink()
    with pytest.raises(DataError, match="files data/.*found none"):
        read("lerobot", tmp_path)
