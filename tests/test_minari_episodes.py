"""Episodes of Minari datasets from buffers: their flags, steps and actions."""

import h5py
import minari
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple
from minari.data_collector import EpisodeBuffer

from ractd_jax.data.d4rl_hdf5 import load_d4rl_hdf5
from ractd_jax.data.minari_source import load_minari
from ractd_jax.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

ARM = Box(-1, 1, (2,), np.float32)
LENGTHS = (7, 4, 9)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def write(root, space=ARM, flags=None, lengths=LENGTHS):
    """A dataset of `lengths`; `flags`: name -> (length -> [length] bool)."""
    rng, flags = np.random.default_rng(1), flags or {}
    none = lambda length: np.zeros(length, bool)  # noqa: E731
    buffers = []
    for number, length in enumerate(lengths):
        space.seed(number)
        samples = [space.sample() for _ in range(length)]
        buffers.append(
            EpisodeBuffer(
                id=number,
                observations=rng.normal(size=(length + 1, 3)).astype(np.float32),
                actions=_columns(samples),
                rewards=list(rng.normal(size=length)),
                terminations=flags.get("terminations", none)(length),
                truncations=flags.get("truncations", none)(length),
                infos={},
            )
        )
    minari.create_dataset_from_buffers(
        "tests/made-v0",
        buffers,
        observation_space=Box(-np.inf, np.inf, (3,), np.float32),
        action_space=space,
        algorithm_name="none",
        author="tests",
        author_email="tests",
        code_permalink="none",
        description="none",
    )
    return root / "tests/made-v0/data/main_data.hdf5"


def _columns(samples):
    if isinstance(samples[0], dict):
        return {key: _columns([s[key] for s in samples]) for key in samples[0]}
    if isinstance(samples[0], tuple):
        return tuple(map(_columns, zip(*samples, strict=True)))
    return np.array(samples)


def load(root):
    return load_minari("tests/made-v0", str(root), download=False)[0]


def last(length):
    return np.arange(length) == length - 1


def from_third(length):
    return np.arange(length) >= 2


def only_third(length):
    return np.arange(length) == 2


FLAGS = {
    "terminations that stay": ({"terminations": from_third}, True, True),
    "one in the middle": ({"terminations": only_third}, False, True),
    "truncations that stay": ({"truncations": from_third}, False, True),
    "both at the end": ({"terminations": last, "truncations": last}, True, False),
    "neither": ({}, False, False),
}


@pytest.mark.parametrize("name", FLAGS)
def test_the_containers_episodes_stand(root, caplog, name):
    """Whatever the flags are, each ends once, at its last step."""
    flags, terminal, warned = FLAGS[name]
    write(root, flags=flags)
    episodes = load(root)
    assert tuple(episodes.lengths) == LENGTHS
    ends = episodes.starts[1:] - 1
    assert episodes.terminals.sum() == 3 * terminal
    assert (episodes.terminals[ends] == terminal).all()
    assert (episodes.timeouts[ends] != terminal).all()
    words = "before the last step in 3 episodes (0, 1, 2): the dataset's own episodes"
    assert (words in caplog.text) == warned


def shortened(file, episode, **steps):
    """Cuts fields of an episode to so many steps."""
    with h5py.File(file, "a") as opened:
        group = opened[f"episode_{episode}"]
        for name, length in steps.items():
            values = group[name][()][:length]
            del group[name]
            group[name] = values


def test_an_episode_without_steps_is_left_out_by_name(root, caplog):
    file = write(root)
    shortened(file, 0, actions=0, rewards=0, terminations=0, truncations=0)
    metadata = file.with_name("metadata.json")
    metadata.write_text(metadata.read_text().replace(": 20,", ": 13,"))
    assert tuple(load(root).lengths) == LENGTHS[1:]
    assert "'tests/made-v0': no steps in episode 0: left out" in caplog.text


@pytest.mark.parametrize("name", ["observations", "actions", "terminations"])
def test_a_field_of_other_steps_is_named(root, name):
    shortened(write(root), 2, **{name: 8})
    words = f"episode 2: field '{name}': expected 9 steps, as rewards have, found 8"
    with pytest.raises(DataError, match=words):
        load(root)


def test_an_episode_of_another_size_is_named(root):
    file = write(root)
    with h5py.File(file, "a") as opened:
        del opened["episode_1/actions"]
        opened["episode_1/actions"] = np.zeros((4, 3), np.float32)
    with pytest.raises(DataError, match=r"episode 1: field 'actions': .*\(3,\)"):
        load(root)


SPACES = {
    "a Tuple of 2 parts": Tuple((ARM, ARM)),
    "a Dict of 2 parts": Dict({"left": ARM, "grip": Discrete(2)}),
    "int64, as discrete actions are": Discrete(3),
    "as discrete actions are": MultiDiscrete([3, 2]),
}


@pytest.mark.parametrize("words", SPACES)
def test_actions_that_are_no_vectors_are_refused(root, words):
    write(root, SPACES[words])
    with pytest.raises(DataError, match=rf"episode 0: field 'actions': .*{words}$"):
        load(root)


@pytest.mark.parametrize("shape", [(30,), (30, 1), (30, 2)])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_a_file_of_discrete_actions_is_refused_alike(tmp_path, shape, dtype):
    """One rule for every reader, before anything is converted."""
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file["observations"] = np.zeros((30, 2))
        file["actions"] = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
        file["rewards"] = np.zeros(30, np.int32)
        file["terminals"] = file["timeouts"] = np.arange(30) % 10 == 9
    words = "field 'actions': expected continuous actions .*, as discrete actions are"
    with pytest.raises(DataError, match=words):
        load_d4rl_hdf5(tmp_path / "d.hdf5")
