"""robomimic's demonstrations, read back, and damaged ones refused by name."""

import json

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from ractd_jax.errors import DataError
from tests.readers.layouts import (
    ENDS,
    LENGTHS,
    OBSERVATIONS,
    SIZE,
    TERMINALS,
    assert_episodes,
    read,
    robomimic_arrays,
    save_hdf5,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "demo.hdf5"


def env_args(name, kind=2, **kwargs):
    about = {"env_name": name, "type": kind, "env_kwargs": kwargs}
    return {("data", "env_args"): json.dumps(about)}


def test_round_trip(path, caplog):
    """Vectors in alphabetical order of their keys; pictures are left out, aloud."""
    counts = {
        (f"data/demo_{demo}", "num_samples"): length
        for demo, length in zip((0, 1, 2, 10), LENGTHS, strict=True)
    }
    save_hdf5(path, robomimic_arrays(), counts)
    episodes, origin = read("robomimic", path)
    assert_episodes(episodes)
    assert origin.observation_keys == "gripper,hand"
    assert "left out, as they are no vectors: front_image (6, 6, 3)" in caplog.text


def test_chosen_keys_keep_their_order(path):
    save_hdf5(path, robomimic_arrays())
    episodes, origin = read("robomimic", path, observation_keys="hand, gripper")
    rolled = np.roll(OBSERVATIONS, -1, axis=1)
    assert_episodes(episodes, observations=rolled)
    assert origin.observation_keys == "hand,gripper"
    one, _ = read("robomimic", path, observation_keys="gripper")
    assert_episodes(one, observations=OBSERVATIONS[:, :1])


def test_a_filter_key_chooses_demonstrations(path):
    """Each once, however often the key lists it, in the order of their numbers."""
    arrays = robomimic_arrays()
    arrays["mask/train"] = np.array([b"demo_10", b"demo_0", b"demo_10"])
    save_hdf5(path, arrays)
    episodes, _ = read("robomimic", path, filter_key="train")
    assert episodes.lengths.tolist() == [5, 7]
    last = np.float32(OBSERVATIONS[9:])
    np.testing.assert_array_equal(episodes.observations[5:], last)


def test_dones_before_the_end_leave_a_demonstration_whole(path, caplog):
    """The demonstrator held on after the task was done."""
    arrays = robomimic_arrays()
    arrays["data/demo_10/dones"] = np.int64([0, 0, 0, 0, 1, 1, 1])
    save_hdf5(path, arrays)
    terminals = TERMINALS.copy()
    terminals[-3:] = True
    timeouts = ENDS & ~terminals
    assert_episodes(read("robomimic", path)[0], terminals=terminals, timeouts=timeouts)
    assert "flagged at 2 steps" in caplog.text


def test_rewards_and_dones_may_be_missing(path):
    arrays = robomimic_arrays()
    for name in [name for name in arrays if name.endswith(("rewards", "dones"))]:
        del arrays[name]
    save_hdf5(path, arrays)
    episodes, origin = read("robomimic", path)
    no_flags = np.zeros(SIZE, bool)
    zeros = np.zeros(SIZE)
    assert_episodes(episodes, rewards=zeros, terminals=no_flags, timeouts=ENDS)
    assert not origin.has_rewards


def test_environments_are_those_that_gymnasium_makes(path):
    """With their arguments; of Gym's old ones and D4RL's names, the ones of D4RL."""
    save_hdf5(path, robomimic_arrays(), env_args("Pendulum-v1", g=2.0))
    origin = read("robomimic", path)[1]
    env = gymnasium.make(EnvSpec.from_json(origin.environment_spec))
    assert (origin.environment_id, env.unwrapped.g) == ("Pendulum-v1", 2.0)
    for attributes, expected in (
        (env_args("Hopper-v5"), "Hopper-v5"),
        (env_args("Hopper-v2"), "Hopper-v4"),
        (env_args("walker2d-medium-expert-v0"), "Walker2d-v4"),
        (env_args("Nowhere-v0"), ""),
        (env_args("Lift", kind=1, robots=["Panda"]), ""),
        ({("data", "env_args"): "{not JSON"}, ""),
        ({}, ""),
    ):
        save_hdf5(path, robomimic_arrays(), attributes)
        origin = read("robomimic", path)[1]
        assert (origin.environment_id, origin.environment_spec) == (expected, "")
        assert (origin.score_max is not None) == bool(expected)


@pytest.mark.parametrize(
    ("name", "values", "field", "words"),
    [
        ("data/demo_1/actions", None, "", "an array, found nothing"),
        ("data/demo_2/rewards", None, "", "an array, found nothing"),
        ("data/demo_2/obs/hand", None, "", "an array, found nothing"),
        ("data/demo_2/obs/hand", np.zeros((3, 2)), "data/demo_2/observations",
         "4 columns, as data/demo_0/observations has, found 3"),
        ("data/demo_2/obs/hand", np.zeros((2, 3)), "", "3 rows.*found 2"),
        ("data/demo_10/dones", np.full(7, 4), "", "0 or 1"),
        ("data/demo_10/rewards", [0.0] * 6 + [np.nan], "", "nan in row 6"),
        ("data/demo_0/actions", np.zeros((5, 2), np.int64), "", "continuous.*int64"),
        ("data/demo_0/actions", np.zeros((5, 2, 2)), "", "rank 2"),
        ("data/scene/actions", np.zeros((5, 2)), "data", "demo_0, demo_1.*scene"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(path, name, values, field, words):
    arrays = {**robomimic_arrays(), name: values}
    save_hdf5(path, {name: v for name, v in arrays.items() if v is not None})
    with pytest.raises(DataError, match=words) as caught:
        read("robomimic", path)
    assert caught.value.path == str(path)
    assert caught.value.field == (field or name)


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"filter_key": "test"}, "mask/test", r"\(lost, train, valid; .*found nothing"),
        ({"filter_key": "lost"}, "data/demo_9", "a group, found nothing"),
        ({"observation_keys": "arm"}, "arm", "some of gripper, hand.*found nothing"),
        ({"observation_keys": "hand,hand"}, "hand", "once each.*found it twice"),
        (
            {"observation_keys": "hand,front_image"},
            "front_image",
            r"config\.dataset\.observation_keys\), found shape \(6, 6, 3\)",
        ),
    ],
)
def test_a_wrong_choice_is_named(path, options, field, words):
    lost = np.array([b"demo_9"])
    save_hdf5(path, {**robomimic_arrays(), "mask/lost": lost})
    with pytest.raises(DataError, match=words) as caught:
        read("robomimic", path, **options)
    assert caught.value.field == field


def test_other_files_are_refused(path):
    """D4RL's, one of pictures alone, one that is cut off, one that lost a step."""
    save_hdf5(path, {"observations": OBSERVATIONS})
    with pytest.raises(DataError, match="field 'data': expected a group"):
        read("robomimic", path)
    pictures = {
        name: values
        for name, values in robomimic_arrays().items()
        if not name.endswith(("hand", "gripper"))
    }
    save_hdf5(path, pictures)
    with pytest.raises(DataError, match="a vector at each step, found front_image"):
        read("robomimic", path)
    save_hdf5(path, robomimic_arrays(), {("data/demo_2", "num_samples"): 4})
    with pytest.raises(DataError, match="demo_2/actions': expected 4 rows.*found 3"):
        read("robomimic", path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="a whole HDF5 file"):
        read("robomimic", path)
