"""The layouts that D4RL's files come in."""

import json

import h5py
import numpy as np
import pytest

from ractd_jax.data.d4rl_hdf5 import load_d4rl_hdf5
from ractd_jax.data.origin import (
    Origin,
    d4rl_family,
    d4rl_time_limit,
    origin_of_file,
)
from ractd_jax.data.sources import load_resolved
from ractd_jax.errors import DataError
from ractd_jax.settings import from_mapping

SIZE = 2500


def write(path, *, without=(), compression=None, dtype=np.float32, **more):
    """A file of Hopper's sizes; a fall at 700 and 1900, time limits of 1,000 steps."""
    rng = np.random.default_rng(0)
    terminals, timeouts = np.zeros((2, SIZE), bool)
    terminals[[700, 1900]] = True
    timeouts[1700] = True
    fields = {
        "observations": rng.standard_normal((SIZE, 11)).astype(dtype),
        "next_observations": rng.standard_normal((SIZE, 11)).astype(dtype),
        "actions": rng.uniform(-1, 1, (SIZE, 3)).astype(dtype),
        "rewards": rng.standard_normal(SIZE).astype(dtype),
        "terminals": terminals,
        "timeouts": timeouts,
        **more,
    }
    with h5py.File(path, "w") as file:
        for name, values in fields.items():
            if name not in without:
                how = compression if np.ndim(values) else None
                file.create_dataset(name, data=values, compression=how)
    return fields


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_mujoco_v2(tmp_path, compression, dtype):
    """next_observations, infos and metadata are left alone."""
    path = tmp_path / "hopper_medium-v2.hdf5"
    more = {
        "infos/qpos": np.zeros((SIZE, 6)),
        "infos/action_log_probs": np.zeros(SIZE),
        "metadata/algorithm": np.bytes_("SAC"),
        "metadata/policy/fc0/weight": np.zeros((256, 11)),
    }
    fields = write(path, compression=compression, dtype=dtype, **more)
    episodes, origin = load_d4rl_hdf5(path)
    assert episodes.starts.tolist() == [0, 701, 1701, 1901, SIZE]
    expected = fields["observations"].astype(np.float32)
    np.testing.assert_array_equal(episodes.observations, expected)
    assert episodes.rewards.dtype == np.float32
    assert origin.environment_id == "Hopper-v4"
    assert (origin.score_min, origin.score_max) == (-20.272305, 3234.3)


def test_mujoco_v0_has_no_timeouts(tmp_path):
    """They are where 1,000 steps went by, not where the episode fell at that step."""
    path = tmp_path / "hopper_medium.hdf5"
    write(path, without=("timeouts", "next_observations"))
    episodes, _ = load_d4rl_hdf5(path)
    assert episodes.starts.tolist() == [0, 701, 1701, 1901, SIZE]
    assert np.flatnonzero(episodes.timeouts).tolist() == [1700]
    # In a file of another name nobody can know.
    write(tmp_path / "mine.hdf5", without=("timeouts",))
    with pytest.raises(DataError, match="max_episode_steps") as caught:
        load_d4rl_hdf5(tmp_path / "mine.hdf5")
    assert caught.value.field == "timeouts"
    shorter, _ = load_d4rl_hdf5(tmp_path / "mine.hdf5", max_episode_steps=600)
    assert shorter.starts.tolist() == [0, 600, 701, 1301, 1901, SIZE]


def test_derived_timeouts_against_a_loop(tmp_path):
    rng = np.random.default_rng(1)
    for case in range(20):
        path = tmp_path / f"{case}.hdf5"
        terminals = rng.random(300) < rng.choice([0.0, 0.02, 0.3])
        with h5py.File(path, "w") as file:
            file["observations"] = rng.standard_normal((300, 2))
            file["actions"] = rng.standard_normal((300, 1))
            file["rewards"] = rng.standard_normal((300, 1))
            file["terminals"] = terminals.astype(np.uint8)
        limit = int(rng.integers(1, 40))
        episodes, _ = load_d4rl_hdf5(path, max_episode_steps=limit)
        expected, steps = [], 0
        for terminal in terminals:
            steps += 1
            expected.append(not terminal and steps == limit)
            if terminal or steps == limit:
                steps = 0
        assert episodes.timeouts.tolist() == expected


def test_maze2d_and_antmaze_have_goals(tmp_path):
    goals = np.random.default_rng(0).uniform(0, 5, (SIZE, 2))
    for name in ("maze2d-umaze-sparse-v1.hdf5", "antmaze-medium-play-v2.hdf5"):
        write(tmp_path / name, **{"infos/goal": goals, "infos/qpos": goals})
        episodes, origin = load_d4rl_hdf5(tmp_path / name)
        np.testing.assert_array_equal(episodes.goals, goals.astype(np.float32))
        assert origin.score_source.endswith(d4rl_family(name))
        ant = name.startswith("antmaze")
        assert origin.environment_id == ("ractd/AntMaze-Medium-v0" if ant else "")
    write(tmp_path / "short.hdf5", **{"infos/goal": goals[:-1]})
    with pytest.raises(DataError, match="expected 2500 rows") as caught:
        load_d4rl_hdf5(tmp_path / "short.hdf5")
    assert caught.value.field == "goals"


@pytest.mark.parametrize(
    ("name", "family", "limit"),
    [
        ("hopper_medium_expert-v2.hdf5", "hopper", 1000),
        ("/data/HalfCheetah-random-v0.hdf5", "halfcheetah", 1000),
        ("walker2d_full_replay-v2.hdf5", "walker2d", 1000),
        ("mini_kitchen_microwave_kettle_light_slider-v0.hdf5", "kitchen", 0),
        ("kitchen-mixed-v0.hdf5", "kitchen", 0),
        ("maze2d-large-dense-v1.hdf5", "maze2d-large", 0),
        ("antmaze-umaze-diverse-v2.hdf5", "antmaze", 0),
        ("Ant_maze_u-maze_noisy_multistart_False.hdf5", "antmaze", 0),
        ("antmaze-ultra-v2.hdf5", "antmaze", 0),
        ("pen-human-v1.hdf5", "", 0),
        ("hopperish.hdf5", "", 0),
    ],
)
def test_names_of_files(name, family, limit):
    assert d4rl_family(name) == family
    assert d4rl_time_limit(name) == limit


def test_files_have_d4rls_references():
    assert origin_of_file("hopper.hdf5").score_max == 3234.3
    assert origin_of_file("pen-human-v1.hdf5") == Origin()


def test_a_size_beyond_the_file_is_refused_at_once(tmp_path):
    """A dataset that claims terabytes and stores nothing."""
    path = tmp_path / "hopper.hdf5"
    write(path, without=("observations",))
    with h5py.File(path, "r+") as file:
        file.create_dataset("observations", (2**40, 11), np.float32)
    with pytest.raises(DataError, match="more values than the file can hold"):
        load_d4rl_hdf5(path)


def test_a_file_made_here_names_its_environment(tmp_path):
    path = tmp_path / "data.hdf5"
    write(path)
    with h5py.File(path, "r+") as file:
        file.attrs["ractd_jax"] = json.dumps({"environment": "Walker2d-v5"})
    mapping = {"dataset": {"source": "d4rl", "path": str(path)}}
    settings, dataset = load_resolved(from_mapping(mapping), inspecting=True)
    assert settings.environment.id == "Walker2d-v5"
    assert settings.environment.score_max == 4592.3
    mapping["environment"] = {"id": "Hopper-v5"}
    settings, _ = load_resolved(from_mapping(mapping))
    assert settings.environment.id == "Hopper-v5"
    mapping["environment"] = {"id": "none"}
    settings, _ = load_resolved(from_mapping(mapping))
    assert settings.environment.id == ""
    assert dataset.name == str(path)
