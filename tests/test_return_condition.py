"""Plans conditioned on the rank of their episode's return."""

import jax
import numpy as np
import pytest

import ractd_jax
from ractd_jax import methods, policy
from ractd_jax.data.episodes import build_episodes, return_ranks
from ractd_jax.data.sources import make_dataset
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.normalizers import MinMaxNormalizer, ZScoreNormalizer
from ractd_jax.planning import Planner
from ractd_jax.planning.export import export_planner
from ractd_jax.settings import from_mapping
from ractd_jax.training.loop import train
from ractd_jax.training.stages import plan_stage
from ractd_jax.training.stages.base import plan_sampling
from ractd_jax.training.stages.plan_sizes import dimensions
from tests.toys import random_params, toy_dataset, toy_settings

LENGTH = 10


def two_policies():
    """Episodes that do 0.5 and are paid for it, and episodes that do -0.5."""
    rng = np.random.default_rng(0)
    good = np.repeat(np.arange(20) % 2 == 1, LENGTH)
    timeouts = np.arange(len(good)) % LENGTH == LENGTH - 1
    columns = {
        "observations": rng.standard_normal((len(good), 3)),
        "actions": np.where(good, 0.5, -0.5)[:, None] + np.zeros((1, 2)),
        "rewards": good.astype(float),
        "terminals": np.zeros(len(good), bool),
        "timeouts": timeouts,
    }
    # Bounds of the actions.
    columns["actions"][0], columns["actions"][1] = -1.0, 1.0
    return make_dataset("two policies", build_episodes(columns, "two policies"))


def settings_of(target_rank=1.0):
    return toy_settings(
        plan={"horizon": 1, "return_condition": True},
        evaluation={"target_rank": target_rank},
        network={"kind": "mlp", "mlp_width": 32, "embed_dim": 8},
        bc={
            "num_steps": 300,
            "batch_size": 32,
            "optimizer": {"learning_rate": 1e-2, "warmup_steps": 0},
        },
        run={"steps_per_call": 100, "log_every": 100, "checkpoint_every": 300},
    )


def test_ranks_are_shares_of_the_steps():
    rewards = np.array([3.0, 0, 0, 1.0, 2.0, 0])
    timeouts = np.array([0, 0, 1, 1, 0, 1], bool)
    columns = {
        "observations": np.zeros((6, 1)),
        "actions": np.zeros((6, 1)),
        "rewards": rewards,
        "terminals": np.zeros(6, bool),
        "timeouts": timeouts,
    }
    ranks = return_ranks(build_episodes(columns, "three episodes"))
    # Worst first: lengths 1, 2, 3, of which the middles are 0.5, 2 and 4.5 of 6 steps.
    np.testing.assert_allclose(ranks, [1.0, -1.0, -0.25], atol=1e-6)
    columns["rewards"] = np.array([1.0, 0, 0, 1.0, 1.0, 0])
    ranks = return_ranks(build_episodes(columns, "three equal episodes"))
    np.testing.assert_array_equal(ranks, [1.0, 1.0, 1.0])


def test_the_condition_is_the_rank_and_then_the_state():
    data, settings = two_policies(), settings_of()
    dims = dimensions(settings, data)
    assert (dims.rank, dims.condition) == (1, 4)
    sampling, _ = plan_sampling("bc", settings, data)
    rows = np.array([0, LENGTH, 3 * LENGTH + 2])
    batch = sampling["gather"](sampling["data"], rows)
    ranks = return_ranks(data.episodes)
    np.testing.assert_array_equal(batch.condition["rank"][:, 0], ranks[[0, 1, 3]])
    states = data.observation_normalizer.normalize(data.episodes.observations[rows])
    found = batch.condition["observations"]
    np.testing.assert_allclose(found[:, 0], states, rtol=1e-6)
    on_device = jax.jit(sampling["gather"])(sampling["data"], rows)
    for name, values in batch.condition.items():
        np.testing.assert_allclose(on_device.condition[name], values, rtol=1e-6)


def test_the_reward_model_sees_no_rank():
    seen = methods.of_first_action(lambda states, actions: states.sum(axis=1))
    condition = {"rank": np.array([[100.0]]), "observations": np.array([[[1.0, 2, 3]]])}
    assert seen(np.zeros((1, 1, 2)), condition) == 6.0


@pytest.mark.slow
def test_a_planner_acts_as_episodes_of_the_target_rank(tmp_path):
    data, settings = two_policies(), settings_of()
    train(plan_stage("bc", settings, data), settings.run, 0, tmp_path)
    states = data.episodes.observations[20:60]
    for rank, expected in ((None, 0.5), (-1.0, -0.5)):
        planner = ractd_jax.load_planner(tmp_path, target_rank=rank)
        assert planner.method.flat(planner.condition(states)).shape == (40, 4)
        actions = planner.act(states, jax.random.key(0))
        np.testing.assert_allclose(actions, expected, atol=0.15)


def test_plans_of_states_have_a_goal_and_no_rank():
    settings = toy_settings(plan={"kind": "states", "return_condition": True})
    with pytest.raises(ConfigError, match="return_condition: expected False"):
        dimensions(settings, toy_dataset())
    with pytest.raises(ConfigError, match="target_rank: expected -1.0 <= value"):
        settings_of(target_rank=1.5)


def test_an_exported_planner_keeps_the_target_rank(tmp_path):
    settings = from_mapping(
        {
            "plan": {"horizon": 4, "return_condition": True},
            "evaluation": {"target_rank": 0.5},
            "network": {"kind": "mlp", "mlp_width": 8, "embed_dim": 8},
        }
    )
    dims = Dimensions(observation=3, action=2, horizon=4, history=1, rank=1)
    network = methods.make_network(settings.network, dims)
    params = random_params(network, dims, "student")
    states = ZScoreNormalizer(np.zeros(3, np.float32), np.ones(3, np.float32))
    actions = MinMaxNormalizer(np.full(2, -1.0, np.float32), np.ones(2, np.float32))
    planner = Planner(settings, dims, "student", params, states, actions, 1)
    export_planner(planner, tmp_path / "policy.zip")
    exported = policy.load_policy(tmp_path / "policy.zip")
    observations = np.ones((2, 3), np.float32)
    keys = jax.random.split(jax.random.key(0), 2)
    wanted = planner.plan(observations, keys)
    found = exported.plan(observations, keys)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    rank = planner.condition(observations)["rank"][:, 0]
    np.testing.assert_array_equal(rank, [0.5, 0.5])
