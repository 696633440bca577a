"""Plans of states and actions, conditioned on the kinds that an observation shows."""

import dataclasses

import jax
import numpy as np
import pytest

import ractd_jax
from ractd_jax import tasks
from ractd_jax.errors import ConfigError
from ractd_jax.methods import EdmTeacher
from ractd_jax.planning.export import export_planner
from ractd_jax.settings import from_mapping
from ractd_jax.training.stages import make_stage, student_stage
from ractd_jax.training.stages.base import plan_sampling
from ractd_jax.training.stages.plan_sizes import dimensions
from tests.toys import save_untrained, toy_dataset, toy_settings

SEEN, ACTED, STEPS = 3, 2, 4
ID = "toy/Kinds-v0"


class Kinds(tasks.Task):
    """Two slots: whether the first two numbers of a state are above 0.5 and below."""

    name = "toy_kinds"
    pattern = ID
    num_elements = 2
    num_kinds = 3

    def elements(self, states):
        return (states[..., :2] > -0.5) * 1.0 + (states[..., :2] > 0.5)


@pytest.fixture(autouse=True)
def family():
    tasks.register(Kinds())
    yield
    del tasks._TASKS["toy_kinds"]


@pytest.fixture(scope="module")
def dataset():
    return toy_dataset()


def joint_settings(**sections):
    joint = {
        "plan": {"kind": "joint", "elements": "observed", "conditioning": "ends"},
        "environment": {"id": ID},
        "network": {"widths": (8, 16), "element_embed_dim": 6},
    }
    settings = from_mapping(joint, toy_settings(student={"reward_weight": 0.0}))
    return from_mapping(sections, settings)


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """An untrained teacher and a student of it."""
    tasks.register(Kinds())
    folder, settings = tmp_path_factory.mktemp("joint"), joint_settings()
    save_untrained(make_stage("teacher", settings, dataset), folder / "teacher")
    stage = student_stage(settings, dataset, folder / "teacher", None)
    save_untrained(stage, folder / "student")
    return folder


def test_a_step_of_a_window_is_a_state_and_its_action(dataset):
    settings = joint_settings()
    dims = dimensions(settings, dataset)
    assert dims.plan_shape == (STEPS, SEEN + ACTED) and dims.observation_shape == (
        SEEN,
    )
    assert dims.condition_shapes == {
        "start": (SEEN,),
        "elements": (2, 1),
        "known": (1,),
    }
    sampling, _ = plan_sampling("teacher", settings, dataset)
    rows = np.arange(sampling["num_rows"], dtype=np.int32)
    batch = sampling["gather"](sampling["data"], rows)
    episodes = dataset.episodes
    states = dataset.observation_normalizer.normalize(episodes.observations)
    actions = dataset.action_normalizer.normalize(episodes.actions)
    steps = rows[:, None] + np.arange(STEPS)
    steps = np.minimum(steps, rows[:, None] // 12 * 12 + 11)  # episodes of 12 steps
    np.testing.assert_allclose(batch.plans[..., :SEEN], states[steps], atol=1e-6)
    np.testing.assert_allclose(batch.plans[..., SEEN:], actions[steps], atol=1e-6)
    np.testing.assert_allclose(batch.condition["start"], states[rows], atol=1e-6)
    kinds = Kinds().elements(episodes.observations)
    np.testing.assert_array_equal(batch.condition["elements"][..., 0], kinds)
    assert set(np.unique(kinds)) == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("model", ["teacher", "student"])
def test_a_plan_begins_in_the_state_that_is_seen(trained, dataset, model):
    planner = ractd_jax.load_planner(trained / model)
    seen = dataset.episodes.observations[:5]
    keys = jax.random.split(jax.random.key(0), 5)
    plans = np.asarray(planner.plan(seen, keys))
    assert plans.shape == (5, STEPS, SEEN + ACTED)
    np.testing.assert_allclose(plans[:, 0, :SEEN], seen, atol=1e-5)
    assert np.abs(plans[:, 1, :SEEN] - seen).max() > 0.01
    acted = np.asarray(planner.act(seen, keys))
    np.testing.assert_allclose(acted, plans[:, 0, SEEN:], atol=1e-5)
    low, high = planner.action_normalizer.low, planner.action_normalizer.high
    assert (acted >= low - 1e-5).all() and (acted <= high + 1e-5).all()
    again = planner.unnormalize_plans(planner.normalize_plans(plans), {})
    np.testing.assert_allclose(again, plans, atol=1e-4)


@pytest.mark.slow
def test_plans_depend_on_the_kinds(trained, dataset):
    """The same state, once shown as it is and once without its kinds."""
    planner = ractd_jax.load_planner(trained / "teacher")
    free = ractd_jax.load_planner(trained / "teacher", guidance_weight=0.0)
    seen = dataset.episodes.observations[:5]
    keys = jax.random.split(jax.random.key(0), 5)
    assert np.abs(planner.act(seen, keys) - free.act(seen, keys)).max() > 1e-3
    condition = planner.condition(seen)
    found = condition["elements"][..., 0]
    np.testing.assert_array_equal(found, Kinds().elements(seen))


@pytest.mark.slow
def test_an_exported_policy_makes_the_same_plans(trained, dataset, tmp_path):
    planner = ractd_jax.load_planner(trained / "student")
    export_planner(planner, tmp_path / "policy.zip")
    policy = ractd_jax.load_policy(tmp_path / "policy.zip")
    seen = dataset.episodes.observations[:3]
    keys = jax.random.split(jax.random.key(1), 3)
    for name in ("plan", "act"):
        ours, theirs = (getattr(each, name)(seen, keys) for each in (planner, policy))
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_executed_weight_is_that_of_the_first_action():
    settings = joint_settings(
        plan={"executed_weight": 10.0}, teacher={"distance": "squared"}
    )
    dims = dimensions(settings, toy_dataset())
    method = EdmTeacher.from_settings(settings, dims)
    ones, zeros = np.ones(1), np.zeros((1, STEPS, SEEN + ACTED))
    costs = {}
    for name, place in (("state", (0, 0)), ("action", (0, SEEN)), ("later", (1, SEEN))):
        error = zeros.copy()
        error[0][place] = 1.0
        costs[name] = float(method.distance(error, zeros, ones))
    assert costs["state"] == pytest.approx(costs["later"])
    assert costs["action"] == pytest.approx(10.0 * costs["state"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"plan": {"elements": "waypoints"}},
            "elements: expected 'none' or 'observed'",
        ),
        ({"plan": {"history": 2}}, "history: expected 1"),
        ({"plan": {"stride": 2}}, "stride: expected 1"),
        ({"plan": {"return_condition": True}}, "return_condition: expected False"),
        ({"environment": {"id": "Hopper-v5"}}, "whose family names no kinds"),
        ({"plan": {"kind": "actions"}}, "conditioning: expected 'film'"),
        (
            {"plan": {"kind": "actions", "conditioning": "film"}},
            "elements: expected 'none'",
        ),
    ],
)
def test_settings_that_contradict_a_joint_plan(dataset, changes, message):
    with pytest.raises(ConfigError, match=message):
        dimensions(joint_settings(**changes), dataset)


@pytest.mark.parametrize("stage", ["reward", "bc", "td3_bc"])
def test_methods_of_actions_refuse_joint_plans(dataset, stage):
    settings = joint_settings(plan={"horizon": 4})
    with pytest.raises(ConfigError, match=r"config\.plan\.\w+: expected"):
        make_stage(stage, settings, dataset)


def test_sigma_data_is_that_of_states_and_actions(dataset):
    from ractd_jax.data.sources import resolve_sigma_data

    settings = joint_settings(diffusion={"sigma_data": None})
    states = dataset.observation_normalizer.normalize(dataset.episodes.observations)
    actions = dataset.action_normalizer.normalize(dataset.episodes.actions)
    both = np.concatenate([states, actions], axis=1)
    found = resolve_sigma_data(settings, dataset).diffusion.sigma_data
    assert found == pytest.approx(np.sqrt(np.square(both).mean()), abs=1e-3)
    of_states = from_mapping({"plan": {"kind": "states"}}, settings)
    of_states = dataclasses.replace(
        of_states, plan=dataclasses.replace(of_states.plan, elements="none")
    )
    found = resolve_sigma_data(of_states, dataset).diffusion.sigma_data
    assert found == pytest.approx(np.sqrt(np.square(states).mean()), abs=1e-3)
