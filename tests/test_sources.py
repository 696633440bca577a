"""Datasets on disk: round trips, damaged files, and the official kitchen file."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from ractd_jax.data.d4rl_hdf5 import load_d4rl_hdf5, save_d4rl_hdf5
from ractd_jax.data.minari_source import load_minari
from ractd_jax.data.minari_store import has_minari
from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.data.sources import load_dataset
from ractd_jax.errors import ConfigError, DataError
from ractd_jax.recording.minari_writer import save_minari
from ractd_jax.settings import Settings, from_mapping

KITCHEN = Path(__file__).parents[2] / "shared/data/kitchen-complete-v0.hdf5"
FIELDS = ("observations", "actions", "rewards", "terminals", "timeouts")
DATASET_ID = "ractd/hopper/tested-v0"


def make_episode(length: int, terminated: bool, seed: int) -> RecordedEpisode:
    """A made-up episode of Hopper's sizes."""
    rng = np.random.default_rng(seed)
    return RecordedEpisode(
        rng.normal(size=(length + 1, 11)).astype(np.float32),
        rng.uniform(-1, 1, (length, 3)).astype(np.float32),
        rng.normal(size=length).astype(np.float32),
        terminated,
        not terminated,
        seed,
    )


def dataset_settings(**options) -> Settings:
    return from_mapping({"dataset": options})


RECORDED = [
    make_episode(5, True, 0),
    make_episode(3, False, 1),
    make_episode(1, True, 2),
]


def assert_equals_recorded(episodes) -> None:
    """`episodes` are RECORDED, bit by bit."""
    assert episodes.starts.tolist() == [0, 5, 8, 9]
    for name, expected in {
        "observations": np.concatenate([e.observations[:-1] for e in RECORDED]),
        "actions": np.concatenate([e.actions for e in RECORDED]),
        "rewards": np.concatenate([e.rewards for e in RECORDED]),
    }.items():
        found = getattr(episodes, name)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
    assert np.flatnonzero(episodes.terminals).tolist() == [4, 8]
    assert np.flatnonzero(episodes.timeouts).tolist() == [7]


@pytest.fixture
def hdf5(tmp_path):
    """A whole D4RL file of RECORDED, alone in its folder."""
    path = tmp_path / "data.hdf5"
    save_d4rl_hdf5(path, RECORDED, {"made_by": "a test"})
    return path


def replace_field(path: Path, name: str, values) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        if values is not None:
            file[name] = values


def test_hdf5_round_trip(hdf5):
    """What was recorded is loaded, and nothing but the file is left behind."""
    assert_equals_recorded(load_d4rl_hdf5(hdf5)[0])
    assert_equals_recorded(load_d4rl_hdf5(str(hdf5))[0])
    assert os.listdir(hdf5.parent) == ["data.hdf5"]


def test_hdf5_layout_is_that_of_d4rl(hdf5):
    """Other readers find next_observations and the attributes too."""
    with h5py.File(hdf5) as file:
        assert set(file) == {*FIELDS, "next_observations"}
        assert file.attrs["made_by"] == "a test"
        following = file["next_observations"][()]
    expected = np.concatenate([e.observations[1:] for e in RECORDED])
    np.testing.assert_array_equal(following, expected)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.25, 0.5, 0.9, 0.999])
def test_truncated_hdf5_is_refused(hdf5, share):
    """A file cut off anywhere is an error that names it, never a part of the data."""
    whole = hdf5.read_bytes()
    hdf5.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match="expected a whole HDF5 file") as caught:
        load_d4rl_hdf5(hdf5)
    assert caught.value.path == str(hdf5)
    assert os.listdir(hdf5.parent) == ["data.hdf5"]


def test_one_missing_byte_is_refused(hdf5):
    hdf5.write_bytes(hdf5.read_bytes()[:-1])
    with pytest.raises(DataError, match="truncated file"):
        load_d4rl_hdf5(hdf5)


def test_other_file_types_are_refused(hdf5):
    """A text file, and a folder."""
    hdf5.write_text("observations, actions\n" * 100)
    with pytest.raises(DataError, match="expected a whole HDF5 file") as caught:
        load_d4rl_hdf5(hdf5)
    assert caught.value.path == str(hdf5)
    with pytest.raises(DataError, match="expected a D4RL HDF5 file"):
        load_d4rl_hdf5(hdf5.parent)


def test_missing_file_is_refused_and_not_made(tmp_path):
    path = tmp_path / "none.hdf5"
    with pytest.raises(DataError, match="no such file") as caught:
        load_d4rl_hdf5(path)
    assert caught.value.path == str(path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", FIELDS)
def test_missing_hdf5_field_is_named(hdf5, name):
    """Removed, or a group of that name instead of an array."""
    replace_field(hdf5, name, None)
    with pytest.raises(DataError, match="found nothing") as caught:
        load_d4rl_hdf5(hdf5)
    assert (caught.value.path, caught.value.field) == (str(hdf5), name)
    with h5py.File(hdf5, "r+") as file:
        file.create_group(name)
    with pytest.raises(DataError, match="found nothing") as caught:
        load_d4rl_hdf5(hdf5)
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("rewards", np.zeros(8), "expected 9 rows, as observations have, found 8"),
        ("actions", np.zeros((10, 3)), "expected 9 rows"),
        ("rewards", np.r_[np.zeros(6), np.nan, 0, 0], "nan in row 6"),
        ("observations", np.full((9, 11), np.inf), "inf in row 0"),
        ("timeouts", np.arange(9), "expected 0 or 1"),
        ("actions", np.array([b"left"] * 9), "expected numbers"),
        ("terminals", 1, "expected a non-empty array of rank 1"),
    ],
)
def test_bad_hdf5_values_are_named(hdf5, name, values, words):
    """The error names the file, the field and what is wrong there."""
    replace_field(hdf5, name, values)
    with pytest.raises(DataError, match=words) as caught:
        load_d4rl_hdf5(hdf5)
    assert (caught.value.path, caught.value.field) == (str(hdf5), name)


def test_failed_save_leaves_the_file_before(hdf5):
    """A save that breaks off half-way neither makes nor touches the file."""
    before = hdf5.read_bytes()
    for path in (hdf5, hdf5.with_name("new.hdf5")):
        with pytest.raises(TypeError):
            save_d4rl_hdf5(path, RECORDED[:1], {"unwritable": object()})
    assert hdf5.read_bytes() == before
    assert not hdf5.with_name("new.hdf5").exists()
    save_d4rl_hdf5(hdf5, RECORDED, {})
    assert_equals_recorded(load_d4rl_hdf5(hdf5)[0])


@pytest.mark.skipif(not KITCHEN.exists(), reason=f"{KITCHEN} is not there")
def test_official_kitchen_file():
    """D4RL's kitchen-complete: 19 demonstrations that solve up to 4 tasks."""
    dataset = load_dataset(dataset_settings(source="d4rl", path=str(KITCHEN)))
    episodes = dataset.episodes
    assert episodes.num_episodes == 19
    assert episodes.num_transitions == 3680
    assert episodes.observations.shape == (3680, 60)
    assert episodes.actions.shape == (3680, 9)
    assert set(episodes.rewards.tolist()) == {0.0, 1.0}
    np.testing.assert_array_equal(episodes.returns, 4.0)
    observations = dataset.observation_normalizer.normalize(episodes.observations)
    actions = dataset.action_normalizer.normalize(episodes.actions)
    constant = np.ptp(episodes.observations, axis=0) == 0
    assert constant[30:].all(), "the goal of every demonstration is the same"
    assert (observations[:, constant] == 0).all()
    np.testing.assert_allclose(observations[:, ~constant].min(axis=0), -1, atol=1e-4)
    np.testing.assert_allclose(actions.max(axis=0), 1, atol=1e-4)


def save_recorded(root) -> None:
    save_minari(
        DATASET_ID,
        RECORDED,
        "Hopper-v5",
        str(root),
        algorithm="made up",
        description="for tests",
    )


@pytest.fixture(scope="module")
def minari_root(tmp_path_factory):
    """A Minari root with RECORDED under DATASET_ID; tests only read it."""
    root = tmp_path_factory.mktemp("minari")
    save_recorded(root)
    return root


def test_minari_round_trip(minari_root, monkeypatch):
    """Equal to what was recorded, and Minari's own root is what it was."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", "/before")
    assert has_minari(DATASET_ID, str(minari_root))
    assert_equals_recorded(load_minari(DATASET_ID, str(minari_root))[0])
    assert os.environ["MINARI_DATASETS_PATH"] == "/before"
    monkeypatch.delenv("MINARI_DATASETS_PATH")
    load_minari(DATASET_ID, str(minari_root))[0]
    assert "MINARI_DATASETS_PATH" not in os.environ


@pytest.mark.parametrize("name", ["ractd/hopper/none-v0", "not an id"])
def test_missing_minari_id_is_refused(minari_root, name):
    """The error names the id and the root."""
    assert not has_minari(name, str(minari_root))
    with pytest.raises(DataError, match="none of that id") as caught:
        load_minari(name, str(minari_root))
    assert name in caught.value.path
    assert str(minari_root) in caught.value.expected


@pytest.mark.filterwarnings("ignore:Misconfigured dataset:UserWarning")
def test_damaged_minari_dataset_is_refused(tmp_path):
    """A cut-off data file is named; without its metadata it can be made again."""
    save_recorded(tmp_path)
    folder = tmp_path / DATASET_ID / "data"
    whole = (folder / "main_data.hdf5").read_bytes()
    for size in (0, 1000, len(whole) // 2, len(whole) - 1):
        (folder / "main_data.hdf5").write_bytes(whole[:size])
        with pytest.raises(DataError, match="a whole Minari dataset") as caught:
            load_minari(DATASET_ID, str(tmp_path))[0]
        assert DATASET_ID in caught.value.path
    (folder / "metadata.json").unlink()
    assert not has_minari(DATASET_ID, str(tmp_path))
    save_recorded(tmp_path)
    assert_equals_recorded(load_minari(DATASET_ID, str(tmp_path))[0])


def test_load_dataset_reads_either_source(hdf5, minari_root):
    """The same episodes from both, named after where they came from."""
    path = str(hdf5)
    stored = load_dataset(dataset_settings(source="d4rl", path=path))
    local = load_dataset(dataset_settings(id=DATASET_ID, root=str(minari_root)))
    assert (stored.name, local.name) == (path, DATASET_ID)
    assert_equals_recorded(stored.episodes)
    assert_equals_recorded(local.episodes)
    assert stored.observation_normalizer.equals(local.observation_normalizer)
    assert stored.action_normalizer.equals(local.action_normalizer)
    observations = stored.observation_normalizer.normalize(stored.episodes.observations)
    actions = stored.action_normalizer.normalize(stored.episodes.actions)
    for unit, raw in (
        (observations, stored.episodes.observations),
        (actions, stored.episodes.actions),
    ):
        low, high = raw.min(axis=0), raw.max(axis=0)
        np.testing.assert_allclose(unit, 2 * (raw - low) / (high - low) - 1, atol=1e-5)


@pytest.mark.parametrize(("source", "field"), [("minari", "id"), ("d4rl", "path")])
def test_load_dataset_names_the_empty_field(source, field):
    """An empty name is a matter of the configuration, and is said as such."""
    other = {"minari": "path", "d4rl": "id"}[source]
    with pytest.raises(ConfigError, match=rf"config\.dataset\.{field}: "):
        load_dataset(dataset_settings(source=source, **{other: "something else"}))


def test_a_relative_minari_root_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_recorded("some/root")
    assert_equals_recorded(load_minari(DATASET_ID, "some/root")[0])
    assert (tmp_path / "some/root" / DATASET_ID).is_dir()
