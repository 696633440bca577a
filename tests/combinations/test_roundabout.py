"""The roundabout of cars and bicycles, on highway-env."""

import sys

import gymnasium
import numpy as np
import pytest

from ractd_jax.errors import ConfigError
from ractd_jax.settings import Environment
from ractd_jax.tasks import task_of
from ractd_jax.tasks.discrete import one_hot
from ractd_jax.tasks.environments import make_environment, registered_spec
from ractd_jax.tasks.roundabout import IDS, TRAFFIC

pytest.importorskip("highway_env")


@pytest.fixture(scope="module")
def environments():
    """Traffic -> environment of vectors."""
    found = {name: make_environment(Environment(IDS[name])) for name in TRAFFIC}
    yield found
    for env in found.values():
        env.close()


def kinds_of(env, seed) -> list[str]:
    """Of the four other vehicles."""
    env.reset(seed=seed)
    return [type(vehicle).__name__ for vehicle in env.unwrapped.road.vehicles[1:]]


def test_who_drives_around(environments):
    drawn = {
        name: {tuple(kinds_of(env, seed)) for seed in range(30)}
        for name, env in environments.items()
    }
    cars, bicycles = ("IDMVehicle",) * 4, ("Bicycle",) * 4
    assert drawn["cars"] == {cars} and drawn["bicycles"] == {bicycles}
    assert drawn["one_kind"] == {cars, bicycles}
    assert len(drawn["mixed"]) > 8 and not drawn["mixed"] & {cars, bicycles}


def test_an_observation_is_highway_envs_and_the_kind(environments):
    """In every step: Kinematics' five columns, and 1 for a bicycle."""
    from highway_env.envs.common.observation import observation_factory

    env, task = environments["mixed"], task_of(IDS["mixed"])
    rng = np.random.default_rng(0)
    empty = 0
    for seed in range(4):
        observation, _ = env.reset(seed=seed)
        inner, done = env.unwrapped, False
        while not done:
            known = observation_factory(inner, inner.config["observation"])
            known.observer_vehicle = inner.vehicle
            rows = observation.reshape(5, 6)
            np.testing.assert_allclose(rows[:, :5], known.observe(), atol=1e-6)
            kinds = task.elements(observation)
            np.testing.assert_array_equal(kinds == 0, rows[:, 0] == 0)
            np.testing.assert_array_equal(kinds == 2, rows[:, 5] == 1)
            assert kinds[0] == 1  # the own car
            empty += int((kinds == 0).sum())
            action = one_hot(rng.integers(5), 5)
            observation, _, terminated, truncated, _ = env.step(action)
            done = terminated or truncated
    assert empty > 0  # vehicles far behind are not seen


def test_the_lanes_are_found_as_highway_env_finds_them():
    """Whole episodes are the same numbers."""
    from ractd_jax.tasks import roundabout_env

    class OneByOne(roundabout_env.MixedRoundabout):
        def _make_road(self):
            super(roundabout_env.MixedRoundabout, self)._make_road()

    fast, slow = roundabout_env.MixedRoundabout("mixed"), OneByOne("mixed")
    rng = np.random.default_rng(1)
    for seed in range(3):
        states = [env.reset(seed=seed)[0] for env in (fast, slow)]
        done = False
        while not done:
            np.testing.assert_array_equal(*states)
            action = int(rng.integers(5))
            (ours, reward, *ends, _), (theirs, other, *others, _) = (
                env.step(action) for env in (fast, slow)
            )
            assert reward == other and ends == others
            states, done = [ours, theirs], any(ends)
    assert type(slow.road.network).__name__ == "RoadNetwork"
    position, heading = slow.vehicle.position, slow.vehicle.heading
    for angle in (None, heading):
        found = [
            env.road.network.get_closest_lane_index(position, angle)
            for env in (fast, slow)
        ]
        assert found[0] == found[1]


def test_bicycles_meet_the_own_car_when_cars_would(environments):
    """From its start each has as far to go as takes a car as long at its speed."""
    from ractd_jax.tasks import roundabout_env

    env = environments["bicycles"]
    env.reset(seed=0)
    inner = env.unwrapped
    network = inner.road.network
    for lanes, start in roundabout_env._STARTS:
        lengths = {lane: network.get_lane(lane).length for lane in lanes}
        index, longitudinal = inner._place_bicycle(lanes, start)
        behind = list(lanes)[list(lanes).index(index) + 1 :]
        left = lengths[index] - longitudinal + sum(lengths[lane] for lane in behind)
        assert left / 4.0 == pytest.approx((sum(lengths.values()) - start) / 16.0)
    speeds = [vehicle.speed for vehicle in inner.road.vehicles[1:]]
    assert np.abs(np.array(speeds) - 4.0).max() < 2.0


def test_a_scene_can_be_chosen(environments):
    env = environments["mixed"]
    chosen = [True, False, False, True]
    env.reset(seed=0, options={"bicycles": chosen})
    kinds = [type(vehicle).__name__ for vehicle in env.unwrapped.road.vehicles[1:]]
    assert [kind == "Bicycle" for kind in kinds] == chosen
    for options in ({"bicycles": [True]}, {"cars": 3}):
        with pytest.raises(ConfigError, match="options: expected 'bicycles', 4 truth"):
            env.reset(options=options)


def test_actions_are_one_hot_and_crashes_are_events(environments):
    env, task = environments["one_kind"], task_of(IDS["one_kind"])
    assert env.action_space == gymnasium.spaces.Box(-1, 1, (5,), np.float32)
    np.testing.assert_array_equal(
        task.encode_actions(np.array([[1], [4]])),
        [[-1, 1, -1, -1, -1], [-1, -1, -1, -1, 1]],
    )
    plain = gymnasium.make(registered_spec(IDS["one_kind"]))
    crashed = 0
    for seed in range(8):
        one, _ = env.reset(seed=seed)
        two, _ = plain.reset(seed=seed)
        done = False
        while not done:  # always faster
            np.testing.assert_array_equal(one, two)
            one, _, terminated, truncated, info = env.step(
                np.arange(5) * [1, 1, 1, 2, 0]
            )
            two, *_ = plain.step(3)
            done = terminated or truncated
        assert (task.happened(info) == ("crash",)) == terminated
        crashed += terminated
    assert crashed > 0 and task.events(Environment(IDS["one_kind"])) == ("crash",)
    plain.close()


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "highway_env.envs.roundabout_env", None)
    monkeypatch.delitem(sys.modules, "ractd_jax.tasks.roundabout_env", raising=False)
    with pytest.raises(ConfigError, match=r"highway-env .*ractd_jax\[roundabout\]"):
        make_environment(Environment(IDS["cars"]))
