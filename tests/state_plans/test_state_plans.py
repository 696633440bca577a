"""Plans of states: batches, goals' rewards, and the stages on them."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax import losses, methods
from ractd_jax.errors import CheckpointError, ConfigError, DataError
from ractd_jax.networks.conditioning import CONDITIONINGS
from ractd_jax.planning import load_planner
from ractd_jax.storage.checkpoint import StoredModel
from ractd_jax.storage.trained import check_same_data
from ractd_jax.training.stages import base as stages_base
from ractd_jax.training.stages import (
    dimensions,
    plan_stage,
    reward_stage,
    student_stage,
)
from tests.state_plans.conftest import LENGTHS, state_settings, with_goals
from tests.toys import (
    HORIZON,
    ends_of,
    flat_condition,
    named_condition,
    random_params,
    save_untrained,
    stage_loss,
    state_dimensions,
)

# --- batches of plans


def slow_batch(
    dataset, goal: str, stride: int, lengths: tuple[int, ...] = LENGTHS
) -> tuple[np.ndarray, np.ndarray]:
    """(plans, conditions) of every row, from loops over episodes, starts and lags."""
    low, high = map(np.asarray, dataset.observation_normalizer)
    plans, offset = [], 0
    for length in lengths:
        states = dataset.episodes.observations[offset : offset + length]
        offset += length
        for start in range(length):
            lags = range(1, HORIZON) if goal == "arrival" else [HORIZON]
            for lag in lags:
                plan = []
                for step in range(HORIZON):
                    place = start + stride * min(step, lag)
                    state = states[min(place, length - 1)].copy()
                    resting = step >= lag or place >= length - 1
                    if goal == "arrival" and resting:
                        state[2:] = 0.0
                    plan.append((state - low) / (high - low) * 2 - 1)
                plans.append(plan)
    plans = np.array(plans)
    return plans, np.concatenate([plans[:, 0], plans[:, -1]], axis=1)


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("goal", ["arrival", "last"])
@pytest.mark.parametrize("split", [False, True])
def test_every_row_is_a_window_and_an_arrival(dataset, goal, stride, split):
    """Row r is window r // (H - 1) with the lag r % (H - 1) + 1, or a whole window."""
    # The first episode's steps are on the way to two goals.
    ways = (4, LENGTHS[0] - 4, *LENGTHS[1:])
    settings = state_settings(
        plan={"goal": goal, "stride": stride, "split_at_goals": split}
    )
    dataset = with_goals(dataset, ways)
    sampling, _ = stages_base.plan_sampling("teacher", settings, dataset)
    plans, conditions = slow_batch(dataset, goal, stride, ways if split else LENGTHS)
    per_window = HORIZON - 1 if goal == "arrival" else 1
    assert sampling["num_rows"] == len(plans) == sum(LENGTHS) * per_window
    rows = np.arange(sampling["num_rows"], dtype=np.int32)
    host = sampling["gather"](sampling["data"], rows)
    device = jax.jit(sampling["gather"])(jax.device_put(sampling["data"]), rows)
    for batch, kind in ((host, np.ndarray), (device, jax.Array)):
        for leaf in (batch.plans, *batch.condition.values()):
            assert isinstance(leaf, kind) and leaf.dtype == np.float32
        condition = flat_condition(batch.condition, state_dimensions())
        np.testing.assert_allclose(batch.plans, plans, atol=1e-5)
        np.testing.assert_allclose(condition, conditions, atol=1e-5)
        ends = np.asarray(batch.plans)[:, [0, -1]].reshape(len(rows), 8)
        np.testing.assert_allclose(condition, ends, rtol=1e-5, atol=1e-6)


def test_only_data_with_goals_splits_at_them(dataset):
    settings = state_settings(plan={"split_at_goals": True})
    with pytest.raises(DataError, match="toy.*goals.*split_at_goals.*nothing"):
        stages_base.plan_sampling("teacher", settings, dataset)


def test_more_rows_than_int32_counts_are_refused(dataset):
    """Before anything of that size is made; a goal at the end has no lags to count."""
    huge = {"horizon": 30_000_000}
    settings = state_settings(plan=huge)
    with pytest.raises(ConfigError, match=r"config.plan.horizon.*3029999899.*goal=la"):
        stages_base.plan_sampling("teacher", settings, dataset)
    with pytest.raises(ConfigError, match=r"config.plan.horizon.*state and a lag"):
        reward_stage(state_settings(plan={"horizon": 100_000_000}), dataset)
    last, _ = stages_base.plan_sampling(
        "teacher", state_settings(plan=huge | {"goal": "last"}), dataset
    )
    assert last["num_rows"] == sum(LENGTHS)
    most = (2**31 - 1) // sum(LENGTHS)
    fits = state_settings(plan={"horizon": most + 1})
    sampling, _ = stages_base.plan_sampling("teacher", fits, dataset)
    assert sampling["num_rows"] == sum(LENGTHS) * most
    over = state_settings(plan={"horizon": most + 2})
    with pytest.raises(ConfigError, match="config.plan.horizon"):
        stages_base.plan_sampling("teacher", over, dataset)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"history": 2}, "config.plan.history: expected 1 .* 'states', found 2"),
        ({"horizon": 1}, "config.plan.horizon: expected at least 2 .*found 1"),
        ({"goal_size": 5}, "config.plan.goal_size: expected at most 4, .*found 5"),
        (
            {"kind": "actions", "stride": 2},
            "config.plan.stride: expected 1 .* 'actions', found 2",
        ),
        (
            {"kind": "actions", "conditioning": "ends"},
            "config.plan.conditioning: expected 'film' .* 'actions', found 'ends'",
        ),
        ({"horizon": 6}, "config.plan.horizon: a horizon of 6 .* multiple of 4"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_impossible_plans_are_named(dataset, plan, message):
    settings = state_settings(plan=plan, network={"widths": (8, 8, 8)})
    for name in ("teacher", "ddpm"):
        with pytest.raises(ConfigError, match=message):
            plan_stage(name, settings, dataset)


def test_return_of_a_plan_of_states_is_that_of_its_states():
    """R of each state, clipped to the data's range, and of the plan's own goal."""
    rng = np.random.default_rng(0)
    plans = rng.normal(size=(5, HORIZON, 4)).astype(np.float32)
    condition = rng.normal(size=(5, 8)).astype(np.float32)

    def reward_fn(states, goals):
        assert states.shape == (5 * HORIZON, 4) and goals.shape == (5 * HORIZON, 2)
        return jnp.sin(3 * states[:, 0]) * goals[:, 0] + states[:, 3] ** 2 * goals[:, 1]

    plan_return_fn = methods.of_states_and_goal(reward_fn, state_dimensions())
    expected = []
    for plan, ends in zip(np.clip(plans, -1, 1), condition, strict=True):
        x, y = ends[4], ends[5]
        expected.append(sum(math.sin(3 * s[0]) * x + s[3] ** 2 * y for s in plan))
    condition = named_condition(condition, state_dimensions())
    np.testing.assert_allclose(plan_return_fn(plans, condition), expected, rtol=1e-4)
    grad = jax.grad(lambda p: plan_return_fn(p, condition).sum())(plans)
    assert (np.asarray(grad)[np.abs(plans) > 1] == 0).all()
    assert (np.asarray(grad)[np.abs(plans) < 1].reshape(-1) != 0).any()


# --- stages


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """Folders of a reward model, a teacher and a student that know both ends."""
    folder = tmp_path_factory.mktemp("trained")
    # How a condition enters the planner is nothing to a reward model.
    save_untrained(reward_stage(state_settings(), dataset), folder / "reward")
    settings = state_settings(plan={"conditioning": "ends"})
    save_untrained(plan_stage("teacher", settings, dataset), folder / "teacher")
    stage = student_stage(settings, dataset, folder / "teacher", folder / "reward")
    save_untrained(stage, folder / "student")
    return folder


@pytest.mark.slow
def test_a_students_known_ends_are_free_of_noise(dataset, trained, monkeypatch):
    """What its loss is given."""
    settings = state_settings(plan={"conditioning": "ends"})
    stage = student_stage(settings, dataset, trained / "teacher", trained / "reward")
    batch = stage.gather(stage.data, np.arange(8, dtype=np.int32))
    monkeypatch.setattr(losses, "student_loss", lambda *args: args[1:4])
    plans, condition, draws = stage_loss(stage)(
        stage.init_params(None), None, stage.frozen, batch, jax.random.key(1)
    )
    np.testing.assert_array_equal(plans, batch.plans)
    ends = flat_condition(batch.condition, stage.method.dims)
    np.testing.assert_array_equal(flat_condition(condition, stage.method.dims), ends)
    for noise in (draws.ctm_noise, draws.dsm_noise):
        assert (ends_of(noise) == 0).all() and (np.asarray(noise)[:, 1:-1] != 0).all()
    np.testing.assert_array_equal(ends_of(draws.init_noise), ends)
    assert np.std(draws.init_noise[:, 1:-1]) > 20


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_a_trained_planner_begins_in_its_state_and_rests_in_its_goal(trained, stage):
    options = {"num_candidates": 3} if stage == "student" else {"num_steps": 2}
    planner = load_planner(trained / stage, **options)
    low, high = (np.asarray(bound) for bound in planner.observation_normalizer)
    states, goals = (low + share * (high - low) for share in (0.2, [[0.7], [0.4]]))
    observations = np.append(np.stack([states, states]), goals[:, :2], axis=1)
    plans = np.asarray(planner.plan(observations, jax.random.key(0)))
    assert plans.shape == (2, HORIZON, 4)
    np.testing.assert_allclose(plans[:, 0], observations[:, :4], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(plans[:, -1, :2], goals[:, :2], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(plans[:, -1, 2:], 0.0, atol=1e-4)


def test_candidates_need_a_reward_model_of_the_same_plans(trained, dataset):
    assert load_planner(trained / "student", num_candidates=2).num_candidates == 2
    with pytest.raises(CheckpointError, match="teacher: 2 candidates need a reward"):
        load_planner(trained / "teacher", num_candidates=2)
    reward = trained / "reward"
    load_planner(trained / "teacher", num_candidates=2, reward=reward, num_steps=1)
    with pytest.raises(CheckpointError, match="nowhere: expected a folder of a train"):
        load_planner(trained / "teacher", num_candidates=2, reward=trained / "nowhere")
    with pytest.raises(CheckpointError, match="expected a reward or critic checkpoint"):
        load_planner(trained / "teacher", num_candidates=2, reward=trained / "student")
    with pytest.raises(
        ValueError, match="num_candidates: expected at least 1, found 0"
    ):
        load_planner(trained / "student", num_candidates=0)
    longer = state_settings(plan={"horizon": 2 * HORIZON})
    metadata = stages_base.base_metadata("teacher", longer, dataset)
    with pytest.raises(CheckpointError, match=r"dimensions \(.*\) differ"):
        check_same_data(StoredModel(reward), metadata)
    with pytest.raises(CheckpointError, match=r"dimensions \(.*\) differ"):
        student_stage(state_settings(), dataset, trained / "teacher", reward)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_the_ddpm_stage_has_a_loss_and_a_gradient(dataset, conditioning):
    settings = state_settings(plan={"conditioning": conditioning})
    stage = plan_stage("ddpm", settings, dataset)
    dims = dimensions(settings, dataset)
    params = random_params(methods.make_network(settings.network, dims), dims, "ddpm")
    batch = stage.gather(stage.data, np.arange(8, dtype=np.int32))
    grads, info = jax.jit(jax.grad(stage_loss(stage), has_aux=True))(
        params, None, {}, batch, jax.random.key(0)
    )
    assert float(info["loss/ddpm"]) > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    assert dataclasses.asdict(dims) == stage.metadata["dimensions"]
