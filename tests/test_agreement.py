"""The environment that evaluation makes is the one that the data was recorded in."""

import contextlib
import dataclasses
import warnings

import gymnasium
import minari
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.envs.registration import EnvSpec

from ractd_jax.data.agreement import compare_environment
from ractd_jax.data.minari_store import local_root
from ractd_jax.data.sources import load_resolved
from ractd_jax.errors import ConfigError, DataError, RactdError
from ractd_jax.settings import from_mapping
from ractd_jax.tasks.environments import make_environment
from tests.odd_environments import Bonus, Dearer, Doubled, Shifted, Tapped
from tests.odd_environments import record as record_in

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

ENTRY = "tests.odd_environments:Crane"
UNKNOWN = "nowhere/Crane-v0"


def crane(limit=12, **kwargs) -> gymnasium.Env:
    """Of an id that no program has registered, as another one's recording has it."""
    return gymnasium.make(
        EnvSpec(UNKNOWN, ENTRY, max_episode_steps=limit, kwargs=kwargs)
    )


@pytest.fixture
def record(tmp_path):
    """Records in an environment; returns the settings that name the data."""

    def recorded(env, name="crane/data-v0", length=12, **changes):
        record_in(env, name, tmp_path, episodes=2, length=length)
        dataset = {"id": name, "root": str(tmp_path)}
        return from_mapping({"dataset": dataset, **changes})

    return recorded


def replayed(settings) -> list[tuple[float, float]]:
    """(paid when replayed, recorded) of every episode, by what evaluation makes."""
    settings, dataset = load_resolved(settings)
    with warnings.catch_warnings(), local_root(settings.dataset.root):
        warnings.simplefilter("ignore")
        stored = minari.load_dataset(settings.dataset.id).storage
        found = list(stored.get_episode_metadata(range(stored.total_episodes)))
    pairs, episodes = [], dataset.episodes
    with contextlib.closing(make_environment(settings.environment)) as env:
        for episode, about in enumerate(found):
            env.reset(seed=about["seed"])
            steps = slice(*episodes.starts[episode : episode + 2])
            paid = sum(env.step(action)[1] for action in episodes.actions[steps])
            pairs.append((paid, float(episodes.rewards[steps].sum())))
    return pairs


def assert_pays_what_was_recorded(settings):
    for paid, recorded in replayed(settings):
        np.testing.assert_allclose(paid, recorded, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: env,
        lambda env: wrappers.RescaleAction(env, -0.5, 0.5),
        lambda env: wrappers.FrameStackObservation(env, 3),
        lambda env: Dearer(wrappers.TimeAwareObservation(env), 3.0),
        Doubled,
        lambda env: Doubled(Tapped(env, "here")),
    ],
)
def test_a_replay_pays_what_was_recorded(record, wrap):
    """Of an entry point, behind wrappers of all kinds."""
    assert_pays_what_was_recorded(record(wrap(crane(strength=2.0))))


@pytest.mark.parametrize("wrap", [Bonus, Shifted])
def test_wrappers_that_change_something_and_are_lost_refuse_the_data(record, wrap):
    settings = record(wrap(crane()))
    message = f"crane/data-v0.*eval_env.*made again.*found {wrap.__name__}; without"
    with pytest.raises(DataError, match=message):
        load_resolved(settings)


def test_wrappers_that_change_nothing_are_left_out_with_a_warning(record, caplog):
    load_resolved(record(Tapped(crane(), "here")))
    assert "left out (Tapped); without them its first episode is paid" in caplog.text


def test_a_lost_wrapper_is_named_where_nothing_can_be_replayed(record, caplog):
    """Plans of states leave the goal, here the last number, out of what was seen."""
    settings, dataset = load_resolved(record(Tapped(crane(), "here")))
    caplog.clear()
    episodes = dataset.episodes
    states = dataclasses.replace(episodes, observations=episodes.observations[:, :2])
    of_data = settings.environment, states, dataset.origin, dataset.name
    compare_environment(*of_data, goal_size=1)
    (line,) = caplog.messages
    assert "left out (Tapped)" in line and "could not be compared" in line


def test_arrays_are_flat_on_both_sides(record):
    settings = record(crane(shape=(2, 2), push=(1, 3), parts=True))
    _, dataset = load_resolved(settings)
    assert dataset.episodes.observations.shape[1] == 8
    assert dataset.episodes.actions.shape[1] == 3
    assert_pays_what_was_recorded(settings)


def test_other_bounds_are_another_environment(record):
    """Of a plain id, and of two recordings that are joined."""
    settings = record(crane(strength=0.4))
    other = from_mapping({"environment": {"id": "Pendulum-v1"}}, settings)
    with pytest.raises(ConfigError, match="3-dimensional|2-dimensional actions"):
        load_resolved(other)
    record(crane(strength=3.0), "crane/strong-v0")
    joined = {"dataset": {"id": "crane/data-v0,crane/strong-v0"}}
    with pytest.raises(DataError, match=r"strong-v0.*eval_env.*strength.*found"):
        load_resolved(from_mapping(joined, settings))


def test_an_environment_of_the_same_shapes_and_other_bounds_is_refused(record):
    gymnasium.register("tests/StrongCrane-v0", ENTRY, kwargs={"strength": 7.0})
    settings = record(crane(), environment={"id": "tests/StrongCrane-v0"})
    with pytest.raises(ConfigError, match=r"takes actions from -1 to 1, .*Strong.*7"):
        load_resolved(settings)


def test_without_a_limit_the_longest_episode_is_one(record, caplog):
    settings, _ = load_resolved(record(crane(limit=None), length=9))
    assert settings.environment.max_episode_steps == 9
    assert "no time limit: episodes of evaluations end after 9 steps" in caplog.text
    with contextlib.closing(make_environment(settings.environment)) as env:
        env.reset(seed=0)
        cut = [env.step(np.zeros(2))[3] for _ in range(9)]
    assert cut == [False] * 8 + [True]


def test_an_environment_that_is_not_installed_stops_no_training(record, caplog):
    settings = record(crane(), environment={"id": "nowhere/Lift-v3"})
    found, _ = load_resolved(settings)
    assert found.environment.id == "nowhere/Lift-v3"
    assert "'nowhere/Lift-v3' cannot be made" in caplog.text


def test_a_replay_that_differs_is_said(record, caplog):
    """As of an id whose environment has changed since."""
    gymnasium.register("tests/Lift-v0", ENTRY, max_episode_steps=12)
    settings = record(gymnasium.make("tests/Lift-v0"))
    gymnasium.registry.pop("tests/Lift-v0")
    doubled = (Doubled.wrapper_spec(),)
    gymnasium.register(
        "tests/Lift-v0", ENTRY, max_episode_steps=12, additional_wrappers=doubled
    )
    settings = from_mapping({"environment": {"id": "tests/Lift-v0"}}, settings)
    load_resolved(settings)
    assert "gives something else than was recorded (step 0 pays" in caplog.text


_WRAPPERS = {
    "rescaled": lambda env, rng: wrappers.RescaleAction(
        env, -float(rng.uniform(0.1, 2.0)), float(rng.uniform(0.1, 2.0))
    ),
    "stacked": lambda env, rng: wrappers.FrameStackObservation(
        env, int(rng.integers(2, 5)), padding_type=str(rng.choice(["reset", "zero"]))
    ),
    "clipped": lambda env, rng: wrappers.ClipAction(env),
    "dearer": lambda env, rng: Dearer(env, float(rng.uniform(-2.0, 2.0))),
    "doubled": lambda env, rng: Doubled(env),
    "flat": lambda env, rng: wrappers.FlattenObservation(env),
    "sticky": lambda env, rng: wrappers.StickyAction(env, 0.4),
    "limited": lambda env, rng: wrappers.TimeLimit(env, int(rng.integers(3, 9))),
    "counted": lambda env, rng: wrappers.RecordEpisodeStatistics(env),
    "tapped": lambda env, rng: Tapped(env, str(rng.integers(9))),
    "shifted": lambda env, rng: Shifted(env, float(rng.normal())),
    "bonus": lambda env, rng: Bonus(env, float(rng.normal())),
}
_LOST = {"shifted", "bonus"}


def _random_environment(rng) -> tuple[gymnasium.Env, set[str]]:
    """An environment behind up to three wrappers, and their names."""
    env = crane(
        limit=int(rng.integers(4, 15)) if rng.random() < 0.7 else None,
        shape=tuple(map(int, rng.integers(1, 4, rng.integers(1, 3)))),
        push=tuple(map(int, rng.integers(1, 3, rng.integers(1, 3)))),
        strength=float(rng.choice([0.3, 1.0, 5.0])),
        parts=bool(rng.random() < 0.3),
        falls_at=float(rng.choice([0.0, 2.5])),
        stops_after=int(rng.choice([0, 7])),
    )
    names = list(rng.choice(list(_WRAPPERS), rng.integers(0, 4), replace=False))
    # Actions that are clipped have no bounds to rescale.
    for name in sorted(names, key=lambda name: name != "rescaled"):
        env = _WRAPPERS[name](env, rng)
    return env, set(names)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_random_recordings_are_paid_again_or_refused_by_name(tmp_path, part):
    """75 recordings a part; only those that lost something are refused."""
    refused = 0
    for number in range(75):
        rng = np.random.default_rng([part, number])
        env, names = _random_environment(rng)
        name = f"random/n{number}-v0"
        record_in(env, name, tmp_path, episodes=int(rng.integers(1, 4)), length=12)
        settings = from_mapping({"dataset": {"id": name, "root": str(tmp_path)}})
        try:
            assert_pays_what_was_recorded(settings)
            assert not names & _LOST
        except RactdError as error:
            refused += 1
            assert name in str(error) and names & _LOST, (names, error)
    assert 10 < refused < 60
