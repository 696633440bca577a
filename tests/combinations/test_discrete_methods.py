"""Cloning and CQL of discrete actions: their losses by hand, and what they learn."""

import jax
import numpy as np
import pytest

import ractd_jax
from ractd_jax.data.episodes import build_episodes
from ractd_jax.data.sources import make_dataset
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.methods import DiscreteCloning, DiscreteCql, PlanBatch, TransitionBatch
from ractd_jax.settings import from_mapping
from ractd_jax.tasks.discrete import one_hot
from ractd_jax.training.loop import train
from ractd_jax.training.stages import make_stage
from tests.toys import random_like, toy_dataset, toy_settings

DIMS = Dimensions(2, 3, 1, 1)


def settings_of(**sections):
    small = {
        "plan": {"horizon": 1},
        "discrete_bc": {"widths": (16,), "num_steps": 1_500, "batch_size": 64},
        "cql": {"widths": (16,), "num_steps": 600, "batch_size": 64, "discount": 0.5},
        "run": {"steps_per_call": 50, "log_every": 100, "checkpoint_every": 1_000},
    }
    return from_mapping(sections, from_mapping(small, toy_settings()))


def weights_of(method, seed=0):
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    return random_like(shapes, seed)


def test_the_clone_has_the_published_size():
    method = DiscreteCloning.from_settings(
        settings_of(discrete_bc={"widths": (256, 256)}), Dimensions(30, 5, 1, 1)
    )
    leaves = jax.tree.leaves(jax.eval_shape(method.init, jax.random.key(0)))
    assert sum(leaf.size for leaf in leaves) == 75_013


def test_cross_entropy_by_hand():
    method = DiscreteCloning.from_settings(settings_of(), DIMS)
    params = weights_of(method)
    rng = np.random.default_rng(0)
    seen, taken = rng.normal(size=(4, 2)).astype(np.float32), np.array([0, 2, 1, 2])
    batch = PlanBatch(one_hot(taken, 3)[:, None], {"observations": seen[:, None]})
    loss, info = method.loss(params, None, {}, batch, method.draw(None, 4))
    logits = np.asarray(method.outputs(params, seen), np.float64)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(probs[np.arange(4), taken]).mean()
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(info["accuracy"]) == np.mean(logits.argmax(axis=1) == taken)


def test_cql_by_hand():
    method = DiscreteCql.from_settings(settings_of(cql={"alpha": 0.7}), DIMS)
    params, target = weights_of(method), weights_of(method, 1)
    rng = np.random.default_rng(0)
    seen, after = rng.normal(size=(2, 4, 2)).astype(np.float32)
    taken, rewards = np.array([0, 2, 1, 2]), np.arange(4.0)
    ends = np.array([0.0, 1.0, 0.0, 0.0])
    batch = TransitionBatch(seen, one_hot(taken, 3), rewards, after, ends)
    loss, info = method.loss(params, target, {}, batch, method.draw(None, 4))
    values = np.asarray(method.outputs(params, seen), np.float64)
    best = np.asarray(method.outputs(params, after)).argmax(axis=1)  # double DQN's
    bootstrapped = np.asarray(method.outputs(target, after))[np.arange(4), best]
    value = values[np.arange(4), taken]
    error = (value - rewards - 0.5 * (1 - ends) * bootstrapped) ** 2
    gap = np.log(np.exp(values).sum(axis=1)) - value
    assert float(info["loss/q"]) == pytest.approx(error.mean(), rel=1e-5)
    assert float(loss) == pytest.approx((error + 0.7 * gap).mean(), rel=1e-5)

    def total(target):
        return method.loss(params, target, {}, batch, method.draw(None, 4))[0]

    grads = jax.grad(total)(target)
    assert all(not leaf.any() for leaf in jax.tree.leaves(grads))


@pytest.fixture(scope="module")
def choices():
    """One step: of two states, action 0 pays in the first and action 1 in the second;
    action 2 pays most in both, and was never taken.
    """
    rng = np.random.default_rng(0)
    states = rng.choice([-1.0, 1.0], 600)
    actions = rng.integers(0, 2, 600)
    pays = (actions == 0) == (states < 0)
    episodes = build_episodes(
        {
            "observations": np.stack([states, rng.normal(size=600)], axis=1),
            "actions": one_hot(actions, 3),
            "rewards": pays.astype(float),
            "terminals": np.ones(600, bool),
            "timeouts": np.zeros(600, bool),
        },
        "choices",
    )
    return make_dataset("choices", episodes)


@pytest.mark.slow
def test_cql_takes_what_pays_and_not_what_was_never_taken(choices, tmp_path):
    settings = settings_of()
    train(make_stage("cql", settings, choices), settings.run, 0, tmp_path / "cql")
    planner = ractd_jax.load_planner(tmp_path / "cql")
    seen = np.float32([[-1.0, 0.3], [1.0, -0.2]])
    acted = np.asarray(planner.act(seen, 0))
    # What never varies in the data is that constant: the last action's -1.
    np.testing.assert_array_equal(acted.argmax(axis=1), [0, 1])
    values = planner.method.outputs(
        planner.params, planner.observation_normalizer.normalize(seen)
    )
    assert (values[:, 2] < values[:, :2].max(axis=1)).all()


def test_a_clone_repeats_the_usual_action(choices, tmp_path):
    settings = settings_of()
    train(
        make_stage("discrete_bc", settings, choices), settings.run, 0, tmp_path / "bc"
    )
    planner = ractd_jax.load_planner(tmp_path / "bc")
    seen = np.float32([[-1.0, 0.0], [1.0, 0.0]])
    logits = planner.method.outputs(
        planner.params, planner.observation_normalizer.normalize(seen)
    )
    probs = np.asarray(jax.nn.softmax(logits))
    np.testing.assert_allclose(probs[:, :2], 0.5, atol=0.15)
    assert (probs[:, 2] < 0.05).all()
    plans = np.asarray(planner.plan(seen, 0))
    # All are ranked, for environments that may not have the best.
    np.testing.assert_array_equal(np.sort(plans[:, 0]), [[-1.0, 0.0, 1.0]] * 2)


@pytest.mark.parametrize("stage", ["cql", "td3_bc"])
@pytest.mark.parametrize("plan", [{"history": 2}, {"return_condition": True}])
def test_transitions_have_no_history_and_no_rank(choices, stage, plan):
    settings = settings_of(plan=plan)
    with pytest.raises(ConfigError, match=r"config\.plan: expected history = 1 and"):
        make_stage(stage, settings, choices)


def test_episodes_of_one_step_are_coded_alike():
    assert one_hot(np.array([2]), 5).shape == (1, 5)
    assert one_hot(np.array([[2]]), 5).shape == (1, 5)
    np.testing.assert_array_equal(one_hot(2, 3), [-1.0, -1.0, 1.0])


@pytest.mark.parametrize("stage", ["discrete_bc", "cql"])
def test_other_data_and_plans_are_refused(stage):
    with pytest.raises(ConfigError, match="expected discrete actions, as one-hot"):
        make_stage(stage, settings_of(), toy_dataset())
    with pytest.raises(ConfigError, match=rf"expected 1 and .* for {stage}, found 4"):
        make_stage(stage, settings_of(plan={"horizon": 4}), toy_dataset())
