"""Temperature, executed actions, z-scores and behaviour cloning, through a planner."""

import json

import jax
import numpy as np
import pytest

import ractd_jax
from ractd_jax import methods, policy
from ractd_jax.data.episodes import build_episodes
from ractd_jax.data.sources import load_dataset, make_dataset, resolve_sigma_data
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import CheckpointError, ConfigError
from ractd_jax.evaluation.members import evaluate_members
from ractd_jax.evaluation.rollout import ClosedLoop, EpisodeKeys, evaluate_planner
from ractd_jax.methods import plan_distance
from ractd_jax.normalizers import (
    MinMaxNormalizer,
    ZScoreNormalizer,
    fit_zscore,
    normalizer_from_dict,
)
from ractd_jax.planning import Planner
from ractd_jax.planning.export import export_planner
from ractd_jax.settings import Environment, from_mapping
from ractd_jax.training.loop import train
from ractd_jax.training.stages import plan_stage, student_stage
from tests.toys import random_params, save_untrained, toy_dataset, toy_settings

ACTIONS = MinMaxNormalizer(np.full(3, -1.0, np.float32), np.ones(3, np.float32))
STATES = ZScoreNormalizer(np.zeros(11, np.float32), np.ones(11, np.float32))


def make_planner(stage="student", num_steps=1, temperature=1.0, execute=1) -> Planner:
    settings = from_mapping(
        {
            "plan": {"horizon": 4, "execute": execute},
            "network": {"kind": "mlp", "mlp_width": 8, "embed_dim": 8},
            "ddpm": {"num_timesteps": 4},
        }
    )
    dims = Dimensions(observation=11, action=3, horizon=4, history=1)
    network = methods.make_network(settings.network, dims)
    params = random_params(network, dims, stage)
    normalizers = STATES, ACTIONS
    return Planner(
        settings, dims, stage, params, *normalizers, num_steps, temperature=temperature
    )


def observations(batch=5):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, 11)).astype(np.float32)


@pytest.mark.parametrize(
    ("stage", "num_steps"),
    [("student", 1), ("student", 3), ("teacher", 2), ("ddpm", 4)],
)
def test_temperature_zero_always_gives_the_same_plan(stage, num_steps):
    cold = make_planner(stage, num_steps, temperature=0.0)
    first = cold.plan(observations(), jax.random.key(0))
    np.testing.assert_array_equal(first, cold.plan(observations(), jax.random.key(1)))
    warm = make_planner(stage, num_steps, temperature=1.0)
    gap = warm.plan(observations(), jax.random.key(0)) - warm.plan(
        observations(), jax.random.key(1)
    )
    assert np.abs(gap).max() > 1e-3


def test_temperature_scales_the_noise_of_a_plan():
    """One step from 0.3 times the noise that the key gives, told of sigma_max."""
    planner = make_planner(temperature=0.3)
    key = jax.random.key(2)
    keys = jax.random.split(key, 5)
    noise = jax.vmap(lambda k: jax.random.normal(k, (1, 4, 3)))(keys)[:, 0]
    jump = planner.method.jump_fn(planner.params)
    condition = planner.condition(observations())
    expected = np.clip(jump(0.3 * 80.0 * noise, 80.0, 0.02, condition), -1, 1)
    np.testing.assert_allclose(
        planner.plan(observations(), key), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("temperature", [-0.1, float("nan")])
def test_a_temperature_below_zero_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be at least 0"):
        make_planner(temperature=temperature)
    with pytest.raises(ConfigError, match="config.evaluation.temperature"):
        from_mapping({"evaluation": {"temperature": temperature}})


def test_an_exported_policy_keeps_the_temperature(tmp_path):
    planner = make_planner(temperature=0.3)
    metadata = export_planner(planner, tmp_path / "policy.zip")
    assert metadata["temperature"] == 0.3 and metadata["execute"] == 1
    loaded = policy.load_policy(tmp_path / "policy.zip")
    key = jax.random.key(4)
    np.testing.assert_allclose(
        loaded.plan(observations(), key),
        planner.plan(observations(), key),
        rtol=1e-5,
        atol=1e-6,
    )


def test_an_exported_clone_acts_as_the_clone(tmp_path):
    clone = make_planner("bc")
    export_planner(clone, tmp_path / "policy.zip")
    loaded = policy.load_policy(tmp_path / "policy.zip")
    key = jax.random.key(4)
    np.testing.assert_allclose(
        loaded.plan(observations(), key),
        clone.plan(observations(), key),
        rtol=1e-5,
        atol=1e-6,
    )


def test_closed_loop_acts_for_one_group_of_episodes_after_the_other():
    """As with environments in workers, each of which has a share of the episodes."""
    planner, keys = make_planner(), EpisodeKeys(3, 7, "each_step")
    loop, seen = ClosedLoop(planner, keys), observations(3)[:, None]
    for episodes in (np.array([0, 1]), np.array([2])):
        found = loop.act(seen[episodes], episodes, 0)
        planned = planner.act(seen[episodes, 0], keys(episodes, 0))
        np.testing.assert_allclose(found, planned, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_planner_plays_episodes_in_workers():
    hopper = Environment("Hopper-v5")
    found = evaluate_planner(make_planner(), hopper, 3, seed=5, num_workers=2)
    assert (found.lengths > 0).all() and np.isfinite(found.returns).all()


def test_closed_loop_executes_the_first_actions_of_a_plan():
    """Plans at steps 0, 3, ...; episodes that leave change nothing for the others."""
    planner = make_planner(execute=3)
    keys = EpisodeKeys(4, 7, "each_step")
    loop = ClosedLoop(planner, keys)
    seen = observations(4)[:, None]
    episodes = np.arange(4)
    for step in range(5):
        if step == 2:
            episodes = np.array([0, 2, 3])
        found = loop.act(seen[episodes], episodes, step)
        planned = planner.plan(seen[episodes, 0], keys(episodes, step - step % 3))
        np.testing.assert_allclose(found, planned[:, step % 3], rtol=1e-4, atol=1e-5)


def test_members_execute_plans_as_one_planner_does():
    planner = make_planner(execute=2)
    params = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), planner.params)
    environment = Environment("Hopper-v5")
    alone = evaluate_planner(planner, environment, 2, seed=5)
    together = evaluate_members(planner, params, environment, 2, seed=5)
    for each in together:
        np.testing.assert_array_equal(each.lengths, alone.lengths)
        np.testing.assert_allclose(each.returns, alone.returns, rtol=1e-3)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"execute": 5}, "config.plan.execute: expected at most"),
        (
            {"execute": 4, "executed_weight": 2.0},
            r"config.plan.executed_weight: expected 1.0, as all .* found 2.0",
        ),
    ],
)
def test_impossible_plans_are_refused(plan, message):
    with pytest.raises(ConfigError, match=message):
        plan_stage("teacher", toy_settings(plan=plan), toy_dataset())


def test_executed_actions_weigh_more_in_the_distance():
    plan = toy_settings(plan={"execute": 1, "executed_weight": 3.0}).plan
    dims = Dimensions(observation=3, action=2, horizon=4, history=1)
    error = np.zeros((2, 4, 2), np.float32)
    error[:, 0] = 1.0
    first = plan_distance("squared", plan, dims)(error, 0 * error, np.ones(2))
    last = plan_distance("squared", plan, dims)(error[:, ::-1], 0 * error, np.ones(2))
    # Weights 3, 1, 1, 1 over their mean of 1.5, of which a quarter each.
    assert float(first) == pytest.approx(2.0 / 4) and float(last) == pytest.approx(
        (1 / 1.5) / 4
    )


def test_zscores_are_clipped_and_survive_json():
    rng = np.random.default_rng(0)
    x = np.float32(rng.normal([3.0, -1.0, 5.0], [2.0, 0.1, 0.0], (500, 3)))
    normalizer = fit_zscore(x)
    found = normalizer.normalize(x)
    np.testing.assert_allclose(found[:, :2].mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(found[:, :2].std(axis=0), 1.0, atol=1e-3)
    np.testing.assert_allclose(found[:, 2], 0.0, atol=1e-5)
    assert normalizer.normalize(x + 1e6).max() == normalizer.clip
    np.testing.assert_allclose(normalizer.unnormalize(found), x, rtol=1e-4, atol=1e-4)
    again = normalizer_from_dict(json.loads(json.dumps(normalizer.to_dict())))
    assert isinstance(again, ZScoreNormalizer)
    np.testing.assert_array_equal(again.normalize(x), found)


def test_sigma_data_is_measured_where_it_is_none():
    dataset = toy_dataset()
    settings = toy_settings(diffusion={"sigma_data": None})
    found = resolve_sigma_data(settings, dataset).diffusion.sigma_data
    normalized = dataset.action_normalizer.normalize(dataset.episodes.actions)
    assert found == pytest.approx(np.sqrt(np.mean(normalized**2)), abs=1e-4)
    assert resolve_sigma_data(toy_settings(), dataset).diffusion.sigma_data == 0.5


def test_a_student_of_another_normaliser_is_refused(tmp_path):
    """The teacher saw min-max observations; the student's dataset has z-scores."""
    dataset = toy_dataset()
    settings = toy_settings(student={"reward_weight": 0.0})
    save_untrained(plan_stage("teacher", settings, dataset), tmp_path / "teacher")
    other = make_dataset("toy", dataset.episodes, observation_normalizer="zscore")
    with pytest.raises(
        CheckpointError, match=r"its normalizers \(observations\) differ"
    ):
        student_stage(settings, other, tmp_path / "teacher", None)


def test_zscores_of_planned_states_are_refused():
    settings = from_mapping(
        {
            "plan": {"kind": "states"},
            "dataset": {
                "source": "d4rl",
                "path": "none.hdf5",
                "observation_normalizer": "zscore",
            },
        }
    )
    with pytest.raises(ConfigError, match="config.dataset.observation_normalizer"):
        load_dataset(settings)


@pytest.mark.slow
def test_behaviour_cloning_learns_the_mean_action(tmp_path):
    """Actions are s_0 plus noise; in closed form the best plan is its mean."""
    rng = np.random.default_rng(0)
    size = 4_000
    states = rng.uniform(-1, 1, (size, 2)).astype(np.float32)
    episodes = build_episodes(
        {
            "observations": states,
            "actions": np.stack(
                [0.5 * states[:, 0] + 0.2 * rng.choice([-1, 1], size)] * 2, axis=1
            ),
            "rewards": np.zeros(size),
            "terminals": np.ones(size, bool),
            "timeouts": np.zeros(size, bool),
        },
        "toy",
    )
    dataset = make_dataset("toy", episodes)
    settings = toy_settings(
        plan={"horizon": 1},
        network={"kind": "mlp", "mlp_width": 32, "embed_dim": 8},
        bc={
            "num_steps": 400,
            "batch_size": 64,
            "optimizer": {"learning_rate": 3e-3, "warmup_steps": 20},
        },
        run={"steps_per_call": 100, "log_every": 200, "checkpoint_every": 400},
    )
    train(plan_stage("bc", settings, dataset), settings.run, 0, tmp_path)
    planner = ractd_jax.load_planner(tmp_path)
    assert planner.stage == "bc" and planner.nfe == 1
    found = planner.act(states[:200], jax.random.key(0))
    np.testing.assert_array_equal(found, planner.act(states[:200], jax.random.key(1)))
    np.testing.assert_allclose(found[:, 0], 0.5 * states[:200, 0], atol=0.1)
    with pytest.raises(ValueError, match="num_steps must be 1 for bc"):
        ractd_jax.load_planner(tmp_path, num_steps=2)
