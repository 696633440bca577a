"""Environments that raise, or whose numbers are not finite, cost their episode only."""

import gymnasium
import numpy as np
import pytest

from ractd_jax.dimensions import Bounds, Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.results import load_results, save_results
from ractd_jax.evaluation.rollout import run_episodes
from ractd_jax.reports.statistics import summarize
from ractd_jax.settings import Environment
from ractd_jax.tasks.environments import (
    check_action_range,
    check_bounds,
    make_environment,
)

ENTRY = "tests.odd_environments:Crane"
DIMS = Dimensions(observation=3, action=2, horizon=1, history=1)
SEEDS = np.arange(4)
for name, kwargs in {
    "Whole": {},
    "Raises": {"breaks": ("raises", 5, (2,))},
    "Nan": {"breaks": ("nan", 5, (2,))},
    "Array": {"breaks": ("array", 5, (2,))},
    "Gone": {"breaks": ("raises", 1, (0, 1, 2, 3))},
    "Bounded": {"bounded": True},
}.items():
    gymnasium.register(
        f"tests/Crane{name}-v0", ENTRY, max_episode_steps=9, kwargs=kwargs
    )


class Steady:
    """Pushes as it is told."""

    compile_seconds = 0.0

    def __init__(self, push=0.5):
        self.push = push

    def act(self, observations, episodes, step):
        return np.full((len(episodes), 2), self.push, np.float32)


def run(name, num_workers=0, **policy):
    environment = Environment(f"tests/Crane{name}-v0")
    return run_episodes(
        Steady(**policy), DIMS, environment, SEEDS, num_workers=num_workers
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Raises", "RuntimeError: the rope is torn"),
        ("Nan", "ValueError: expected a finite observation, found nan or inf"),
        ("Array", "ValueError: expected a number as the reward, found shape (1,)"),
    ],
)
def test_one_episode_is_broken_off_and_named(name, why, caplog):
    whole, found = run("Whole"), run(name)
    place = f"tests/Crane{name}-v0: episode 2, seed 2, step 5: {why}"
    assert found.failures.tolist() == ["", "", place, ""] and place in caplog.text
    assert found.lengths.tolist() == [9, 9, 5, 9]
    others = [0, 1, 3]
    np.testing.assert_array_equal(found.returns[others], whole.returns[others])
    # What the first four steps paid.
    env = gymnasium.make("tests/CraneWhole-v0")
    env.reset(seed=2)
    paid = [env.step(np.full(2, 0.5, np.float32))[1] for _ in range(4)]
    np.testing.assert_allclose(found.returns[2], sum(paid))


def test_failures_are_kept_with_the_results(tmp_path):
    found = run("Raises")
    save_results(tmp_path / "results.npz", found)
    loaded = load_results(tmp_path / "results.npz")
    assert loaded.failures.tolist() == found.failures.tolist()
    assert summarize(loaded, Environment())["failed_episodes"] == 1
    # As results are that were written without them.
    with np.load(tmp_path / "results.npz") as stored:
        arrays = {name: stored[name] for name in stored if name != "failures"}
    np.savez(tmp_path / "older.npz", **arrays)
    assert load_results(tmp_path / "older.npz").num_failed == 0


def test_an_environment_that_always_fails_is_an_error():
    message = r"every episode failed, the first in .*Gone-v0: episode 0, seed 0, step 1"
    with pytest.raises(ConfigError, match=message):
        run("Gone")


def test_an_assertion_of_the_environment_says_where():
    with pytest.raises(ConfigError, match="AssertionError: beyond what the motor"):
        run("Bounded", push=1.5)


@pytest.mark.slow
def test_failures_come_through_processes():
    """Which import what is before the colon of an id."""
    environment = Environment("tests.test_failures:tests/CraneRaises-v0")
    found = run_episodes(Steady(), DIMS, environment, SEEDS, num_workers=1)
    assert [line for line in found.failures if line] == [
        f"{environment.id}: episode 2, seed 2, step 5: RuntimeError: the rope is torn"
    ]


def test_episodes_without_a_limit_are_refused():
    gymnasium.register("tests/CraneEndless-v0", ENTRY)
    with pytest.raises(ConfigError, match=r"max_episode_steps: .*Endless-v0 has none"):
        run("Endless")
    limited = Environment("tests/CraneEndless-v0", max_episode_steps=4)
    found = run_episodes(Steady(), DIMS, limited, SEEDS)
    assert found.lengths.tolist() == [4] * 4


def test_actions_of_other_bounds_are_refused():
    env = make_environment(Environment("tests/CraneWhole-v0"))
    check_bounds(env, "Crane", Bounds((-1.0, -1.0), (1.0, 1.0)))
    check_bounds(env, "Crane", Bounds())
    with pytest.raises(ConfigError, match="takes actions from 0 to 10, Crane Box"):
        check_bounds(env, "Crane", Bounds((0.0, 0.0), (10.0, 10.0)))
    check_action_range(env, "Crane", np.full(2, -1.0), np.full(2, 1.0))
    with pytest.raises(ConfigError, match=r"from \(-3, 0\) to 1, Crane takes -1 to 1"):
        check_action_range(env, "Crane", np.array([-3.0, 0.0]), np.ones(2))
