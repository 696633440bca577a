"""Planners of states without a goal: choosing, following, pickled, exported."""

import dataclasses
import pickle

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box

from ractd_jax.evaluation.state_rollout import evaluate_state_planner
from ractd_jax.planning import load_inverse_dynamics, load_planner
from ractd_jax.planning.controllers import inverse_dynamics
from ractd_jax.planning.export import export_planner
from ractd_jax.policy import load_policy
from ractd_jax.settings import Environment
from ractd_jax.training.stages import (
    make_stage,
    student_stage,
)
from tests.state_plans.conftest import (
    FREE,
    RELATIVE,
    free_settings,
)
from tests.toys import HORIZON, save_untrained


@pytest.fixture(scope="module", params=["pinned", "relative"])
def trained(paid, tmp_path_factory, request):
    """Folders of every model that such a planner needs, untrained."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = free_settings(
        plan=RELATIVE if request.param == "relative" else {},
        student={"reward_weight": 0.5, "path_weight": 1.0, "num_paths": 16},
        inverse_dynamics={"stride": 2, "widths": (8,)},
        critic={"num_members": 5, "widths": (8,)},
    )
    settings = dataclasses.replace(
        settings, student=dataclasses.replace(settings.student, num_members=2)
    )
    for name in ("teacher", "reward", "critic", "inverse_dynamics"):
        save_untrained(make_stage(name, settings, paid), folder / name)
    for reward in ("reward", "critic"):
        built = student_stage(settings, paid, folder / "teacher", folder / reward)
        save_untrained(built, folder / f"student_{reward}")
    return folder


@pytest.mark.parametrize("rating", ["reward", "critic"])
def test_the_plan_with_the_best_rating_is_taken(trained, paid, rating):
    """One of those that its noises lead to, from the state that is observed."""
    planner = load_planner(trained / "student_reward", num_candidates=4,
                           reward=trained / rating)  # fmt: skip
    observation = paid.episodes.observations[3:4]
    plan = np.asarray(planner.plan(observation, jax.random.key(5)))
    assert plan.shape == (1, HORIZON, 4)
    np.testing.assert_allclose(plan[:, 0], observation, rtol=1e-4, atol=1e-4)
    plain = load_planner(trained / "student_reward")
    condition = plain.condition(observation)
    key = jax.random.split(jax.random.key(5), 1)[0]
    noises = jax.random.normal(key, (4, 1, HORIZON, 4))
    many = {"start": np.repeat(condition["start"], 4, axis=0)}
    sampler = plain.sampler_of(plain.method.network)
    plans = sampler.sample(plain.weights, many, jnp.moveaxis(noises, 1, 0))
    returns = np.asarray(planner.plan_return_fn(plans, many))
    assert len(set(returns.tolist())) == 4
    best = plain.unnormalize_plans(plans[returns.argmax()][None], condition)
    np.testing.assert_allclose(plan, best, rtol=1e-3, atol=1e-3)
    changes = plain.changes
    assert (changes is None) == (plain.settings.plan.conditioning == "both")
    if changes is not None:
        moved = plan / np.ones(4) - observation[:, None]
        high, low = map(np.asarray, reversed(plain.observation_normalizer))
        most = changes.scale * (high - low) / 2
        assert (np.abs(moved) <= most * (1 + 1e-4) + 1e-4).all()


def test_a_pickled_planner_plans_alike(trained, paid):
    planner = load_planner(trained / "student_critic")
    copy = pickle.loads(pickle.dumps(planner))
    observations = paid.episodes.observations[:2]
    expected = planner.plan(observations, jax.random.key(0))
    found = copy.plan(observations, jax.random.key(0))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


class Drift(gymnasium.Env):
    """A point that moves by its action and shows its state alone; 6 steps."""

    observation_space = Box(-np.inf, np.inf, (4,), np.float64)
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        self._steps, self._state = 0, np.array([0.1 * (seed % 5), 0.0, 0.0, 0.0])
        return self._state.copy(), {}

    def step(self, action):
        self._steps += 1
        self._state[:2] += action
        self._state[2:] = action
        done = self._steps == 6
        return self._state.copy(), float(done), False, done, {}


gymnasium.register("ractd-tests/Drift-v0", Drift, max_episode_steps=99)


@pytest.mark.parametrize(("replan_every", "plans"), [(None, 1), (1, 6), (4, 2)])
def test_plans_are_made_from_the_first_step_on(trained, replan_every, plans):
    planner = load_planner(trained / "student_critic")
    model = load_inverse_dynamics(trained / "inverse_dynamics")
    asked = []
    plan = planner.plan

    def counted(observations, keys):
        asked.append(np.array(observations))
        return plan(observations, keys)

    planner.plan = counted
    found = evaluate_state_planner(
        planner,
        inverse_dynamics(model, FREE["stride"]),
        Environment(id="ractd-tests/Drift-v0"),
        2,
        3,
        replan_every=replan_every,
    )
    assert len(asked) == plans and asked[0].shape == (2, 4)
    np.testing.assert_allclose(asked[0][:, 0], [0.3, 0.4], rtol=1e-6)
    np.testing.assert_allclose(found.first_plans[:, 0], asked[0], atol=1e-4)
    assert found.goals.shape == (2, 0) and found.reached.all()
    assert (found.episodes.lengths == 6).all()
    # The actions moved the point: the controller followed something.
    assert np.abs(np.diff(found.paths[:, :6, :2], axis=1)).max() > 0


def test_a_critic_sees_the_states_of_relative_plans(trained, paid):
    """Those that are planned, and not their changes."""
    planner = load_planner(
        trained / "student_critic", num_candidates=2, reward=trained / "critic"
    )
    start = planner.condition(paid.episodes.observations[:2])["start"]
    plans = np.random.default_rng(0).uniform(-1, 1, (2, HORIZON, 4))
    plans = plans.astype(np.float32)
    found = planner.plan_return_fn(plans, {"start": start})
    if planner.changes is not None:
        states = planner.changes.decode(plans, start)
        assert np.abs(states - plans).max() > 0.1
    elsewhere = planner.plan_return_fn(plans, {"start": start + 0.5})
    assert np.allclose(found, elsewhere) == (planner.changes is None)


def test_it_is_exported_with_its_candidates(trained, tmp_path, paid):
    planner = load_planner(trained / "student_reward", num_candidates=3)
    export_planner(planner, tmp_path / "policy.zip", {"weights": "ema"})
    policy = load_policy(tmp_path / "policy.zip")
    assert policy.dims.plans_states and policy.dims.goal == 0
    observations = paid.episodes.observations[:2]
    expected = planner.plan(observations, jax.random.key(1))
    found = policy.plan(observations, jax.random.key(1))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
