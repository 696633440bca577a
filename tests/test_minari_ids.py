"""Datasets as Minari's own DataCollector records them, and what is made of them."""

import gymnasium
import minari
import numpy as np
import pytest

from ractd_jax.data.d4rl_hdf5 import load_d4rl_hdf5, save_d4rl_hdf5
from ractd_jax.data.minari_source import load_minari
from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.data.sources import load_resolved
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError, DataError
from ractd_jax.settings import Environment, from_mapping
from ractd_jax.tasks import flatten
from ractd_jax.tasks.environments import check_environment, make_environment

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class GoalPendulum(gymnasium.Env):
    """A goal-conditioned environment with nested Dict observations."""

    def __init__(self, size: int = 2):
        box = gymnasium.spaces.Box(-9, 9, (size,), np.float64)
        goal = gymnasium.spaces.Dict({"b": box, "a": gymnasium.spaces.Box(-9, 9, (1,))})
        self.observation_space = gymnasium.spaces.Dict(
            {"observation": box, "achieved_goal": goal, "desired_goal": goal}
        )
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        self.size = size

    def _observation(self):
        state = np.full(self.size, float(self.steps))
        goal = {"b": -state, "a": np.float32([0.5])}
        return {"observation": state, "achieved_goal": goal, "desired_goal": goal}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {}

    def step(self, action):
        self.steps += 1
        return self._observation(), float(self.steps), False, self.steps >= 4, {}


gymnasium.register(
    "tests/GoalPendulum-v0", entry_point="tests.test_minari_ids:GoalPendulum"
)


def collect(dataset_id, environment, episodes, seed=0, **metadata):
    """Records random actions with the DataCollector; returns what was seen."""
    env = minari.DataCollector(gymnasium.make(environment, **metadata.pop("make", {})))
    env.action_space.seed(seed)
    seen = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed + episode)
        observations, actions, rewards, ended = [observation], [], [], False
        while not ended and len(rewards) < 20:
            action = env.action_space.sample()
            observation, reward, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated
            observations.append(observation)
            actions.append(action)
            rewards.append(reward)
        seen.append((observations, np.array(actions), np.array(rewards)))
    env.create_dataset(dataset_id, algorithm_name="random", **metadata)
    env.close()
    return seen


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def settings_of(dataset_id, root, **sections):
    dataset = {"id": dataset_id, "root": str(root), "download": False}
    return from_mapping({"dataset": dataset, **sections})


def test_an_id_loads_to_what_the_collector_saw(root):
    seen = collect("tests/hopper-v0", "Hopper-v5", 3)
    episodes, origin = load_minari("tests/hopper-v0", str(root))
    assert episodes.num_episodes == 3
    expected = np.concatenate([np.array(o[:-1], np.float32) for o, _, _ in seen])
    np.testing.assert_array_equal(episodes.observations, expected)
    actions = np.concatenate([a for _, a, _ in seen]).astype(np.float32)
    np.testing.assert_array_equal(episodes.actions, actions)
    returns = [r.sum() for _, _, r in seen]
    np.testing.assert_allclose(episodes.returns, returns, rtol=1e-5)
    assert (origin.environment_id, origin.environment_spec) == ("Hopper-v5", "")
    assert origin.score_source == "D4RL's reference returns of hopper"


def test_several_ids_are_one_dataset(root):
    collect("tests/a-v0", "Hopper-v5", 2, seed=0)
    collect("tests/b-v0", "Hopper-v5", 3, seed=50)
    both, _ = load_minari("tests/a-v0, tests/b-v0", str(root))
    one, other = (load_minari(f"tests/{x}-v0", str(root))[0] for x in "ab")
    assert both.num_episodes == 5
    assert both.starts.tolist() == [
        *one.starts,
        *(other.starts[1:] + one.num_transitions),
    ]
    np.testing.assert_array_equal(
        both.observations, np.concatenate([one.observations, other.observations])
    )


def test_ids_that_do_not_fit_are_refused(root):
    collect("tests/hopper-v0", "Hopper-v5", 1)
    collect("tests/walker-v0", "Walker2d-v5", 1)
    collect("tests/slow-v0", "Hopper-v5", 1, make={"forward_reward_weight": 2.0})
    with pytest.raises(DataError, match="expected 11 dimensions.*found 17"):
        load_minari("tests/hopper-v0,tests/walker-v0", str(root))
    with pytest.raises(DataError, match="eval_env.*as the first dataset has"):
        load_minari("tests/hopper-v0,tests/slow-v0", str(root))


def test_the_environment_is_recovered_with_its_options(root):
    """Only where the id alone would make another one."""
    make = {"forward_reward_weight": 2.0, "max_episode_steps": 77}
    collect("tests/slow-v0", "Hopper-v5", 1, make=make)
    settings, _ = load_resolved(settings_of("tests/slow-v0", root))
    assert settings.environment.spec
    env = make_environment(settings.environment)
    assert env.unwrapped._forward_reward_weight == 2.0
    assert env.spec.max_episode_steps == 77
    # Stored with a checkpoint, it comes back.
    again = from_mapping(
        {"environment": {"spec": settings.environment.spec, "id": "x"}}
    )
    assert make_environment(again.environment).spec.max_episode_steps == 77


def test_the_evaluation_environment_comes_first(root):
    collect("tests/e-v0", "Hopper-v5", 1, eval_env="Hopper-v4")
    settings, _ = load_resolved(settings_of("tests/e-v0", root))
    assert settings.environment.id == "Hopper-v4"


def test_reference_returns_metadata_then_d4rl_then_none(root):
    collect("tests/m-v0", "Hopper-v5", 1, ref_min_score=-5.0, ref_max_score=5.0)
    collect("tests/d-v0", "Walker2d-v5", 1)
    collect("tests/n-v0", "Pendulum-v1", 1)

    def environment(name, **given):
        sections = {"environment": given} if given else {}
        settings, _ = load_resolved(settings_of(f"tests/{name}-v0", root, **sections))
        found = settings.environment
        return found.score_min, found.score_max, found.score_source

    assert environment("m")[:2] == (-5.0, 5.0) and "tests/m-v0" in environment("m")[2]
    assert environment("d")[:2] == (1.629008, 4592.3)
    assert environment("n") == (0.0, 100.0, "none: scores are raw returns")
    given = environment("m", score_min=1.0, score_max=2.0)
    assert given == (1.0, 2.0, "the configuration")


@pytest.mark.parametrize(
    ("rule", "columns"),
    [("auto", [0, 1, "a", 2, 3]), ("observation", [0, 1]), ("all", range(8))],
)
def test_dict_observations_flatten_by_rule(root, rule, columns):
    """observation ++ desired_goal, keys in order; and so does the environment."""
    seen = collect("tests/goal-v0", "tests/GoalPendulum-v0", 2)
    episodes, _ = load_minari("tests/goal-v0", str(root), flatten=rule)
    assert episodes.observations.shape == (8, len(columns))
    assert episodes.goals.shape == (8, 3)
    first = seen[0][0][2]  # third observation of the first episode: state 2, goal -2
    expected = {"auto": [2, 2, 0.5, -2, -2], "observation": [2, 2]}.get(
        rule, [0.5, -2, -2, 0.5, -2, -2, 2, 2]
    )
    assert first["observation"].tolist() == [2, 2]
    assert episodes.observations[2].tolist() == expected
    env = make_environment(Environment("tests/GoalPendulum-v0", flatten=rule))
    env.reset(seed=0)
    env.step(env.action_space.sample())
    observation = env.step(env.action_space.sample())[0]
    assert observation.tolist() == expected
    assert env.observation_space.shape == (len(columns),)


@pytest.mark.parametrize(
    ("environment", "make", "sizes"),
    [
        ("FrankaKitchen-v1", {"tasks_to_complete": ["microwave", "kettle"]}, (67, 8)),
        ("PointMaze_UMaze-v3", {"continuing_task": True}, (6, 2)),
    ],
)
def test_robotics_datasets_and_their_environments(root, environment, make, sizes):
    """The first observation of the recovered environment is the one recorded."""
    robotics = pytest.importorskip("gymnasium_robotics")
    gymnasium.register_envs(robotics)
    collect("tests/robot-v0", environment, 1, make=make)
    settings, dataset = load_resolved(settings_of("tests/robot-v0", root))
    assert settings.environment.id == environment
    episodes = dataset.episodes
    assert (episodes.observations.shape[1], episodes.goals.shape[1]) == sizes
    env = make_environment(settings.environment)
    for name, value in make.items():
        assert env.spec.kwargs[name] == value
    observation, _ = env.reset(seed=0)
    np.testing.assert_allclose(observation, episodes.observations[0], atol=1e-6)


def test_what_cannot_be_flattened_is_named(root):
    collect("tests/box-v0", "Pendulum-v1", 1)
    flat, _ = load_minari("tests/box-v0", str(root), flatten="observation")
    assert flat.observations.shape[1] == 3  # arrays need no rule
    with pytest.raises(KeyError):
        flatten.flatten_observations({"pixels": np.zeros((2, 3))}, "observation")
    with pytest.raises(TypeError, match="not a number"):
        flatten.flatten_observations({"text": np.array(["a", "b"])}, "all")


def test_discrete_actions_are_refused(root):
    collect("tests/cart-v0", "CartPole-v1", 1)
    with pytest.raises(DataError, match="continuous actions") as caught:
        load_minari("tests/cart-v0", str(root))
    assert caught.value.field == "actions"


def test_a_missing_id_is_downloaded_once(root, monkeypatch):
    """A download that works, one that fails, and none for what is made here."""
    asked = []

    def download(dataset_id):
        asked.append(dataset_id)
        if dataset_id != "tests/there-v0":
            raise OSError("no route to host\nand a long story")
        collect(dataset_id, "Pendulum-v1", 1)

    monkeypatch.setattr(minari, "download_dataset", download)
    for _ in range(2):
        assert load_minari("tests/there-v0", str(root))[0].num_episodes == 1
    with pytest.raises(DataError, match="download failed: OSError: no route to host$"):
        load_minari("tests/lost-v0", str(root))
    with pytest.raises(DataError, match="make it with experiments.generate_dataset"):
        load_minari("ractd/hopper/medium-v0", str(root))
    with pytest.raises(DataError, match="none of that id"):
        load_minari("tests/lost-v0", str(root), download=False)
    assert asked == ["tests/there-v0", "tests/lost-v0"]


def test_no_id_at_all_is_refused(root):
    with pytest.raises(DataError, match="expected a Minari id, found ' , '"):
        load_minari(" , ", str(root))


def test_a_mistyped_root_is_refused_and_not_made(tmp_path):
    with pytest.raises(DataError, match="config.dataset.root"):
        load_minari("tests/x-v0", str(tmp_path / "typo"))
    assert not (tmp_path / "typo").exists()


def test_an_environment_of_other_sizes_is_refused_before_training():
    dims = Dimensions(observation=11, action=3, horizon=16, history=1)
    check_environment(Environment("Hopper-v5"), dims)
    with pytest.raises(ConfigError, match="11-dimensional observations"):
        check_environment(Environment("Walker2d-v5"), dims)
    with pytest.raises(ConfigError, match="config.environment.id: expected"):
        check_environment(Environment(), dims)


def test_minari_to_d4rl_and_back(root, tmp_path):
    """Equal arrays all the way round, terminals, timeouts and cut-off ends included."""
    collect("tests/hopper-v0", "Hopper-v5", 4)
    first, _ = load_minari("tests/hopper-v0", str(root))
    parts = [
        RecordedEpisode(
            np.concatenate([first.observations[a:b], first.observations[b - 1 : b]]),
            first.actions[a:b],
            first.rewards[a:b],
            bool(first.terminals[b - 1]),
            bool(first.timeouts[b - 1]),
            0,
        )
        for a, b in zip(first.starts[:-1], first.starts[1:], strict=True)
    ]
    save_d4rl_hdf5(tmp_path / "x.hdf5", parts, {})
    second, _ = load_d4rl_hdf5(tmp_path / "x.hdf5")
    for name in ("observations", "actions", "rewards", "terminals", "timeouts"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.starts.tolist() == second.starts.tolist()
