"""Plans of states without a goal, and what rates them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax.data.episodes import return_to_go
from ractd_jax.data.sources import resolve_sigma_data
from ractd_jax.errors import CheckpointError, ConfigError
from ractd_jax.methods import Critic, RewardEnsemble
from ractd_jax.networks import pin_ends
from ractd_jax.normalizers import Changes, normalizer_from_dict
from ractd_jax.planning import Planner, load_planner
from ractd_jax.settings import from_mapping
from ractd_jax.training.stages import (
    dimensions,
    plan_stage,
    reward_stage,
)
from ractd_jax.training.stages.reward import split_episodes
from tests.state_plans.conftest import (
    FREE,
    LENGTHS,
    RELATIVE,
    free_settings,
    state_settings,
)
from tests.toys import HORIZON, random_like, save_untrained

STARTS = np.cumsum([0, *LENGTHS])


def normalized_windows(dataset, stride: int = FREE["stride"]) -> np.ndarray:
    """[N, H, O] the window of each transition, from loops."""
    states = dataset.observation_normalizer.normalize(dataset.episodes.observations)
    plans = []
    for begin, end in zip(STARTS[:-1], STARTS[1:], strict=True):
        for start in range(begin, end):
            steps = np.minimum(start + stride * np.arange(HORIZON), end - 1)
            plans.append(states[steps])
    return np.array(plans)


# --- batches


def test_a_row_is_a_window_from_its_start(dataset):
    stage = plan_stage("teacher", free_settings(), dataset)
    assert stage.num_rows == sum(LENGTHS)
    rows = np.arange(stage.num_rows, dtype=np.int32)
    batch = jax.jit(stage.gather)(jax.device_put(stage.data), rows)
    np.testing.assert_allclose(batch.plans, normalized_windows(dataset), atol=1e-5)
    assert list(batch.condition) == ["start"]
    np.testing.assert_array_equal(batch.condition["start"], batch.plans[:, 0])


def test_relative_plans_hold_changes_in_their_usual_units(dataset):
    """A fourth of the range is the root mean square; larger ones are clipped."""
    settings = free_settings(plan=RELATIVE)
    stage = plan_stage("teacher", settings, dataset)
    batch = stage.gather(stage.data, np.arange(sum(LENGTHS), dtype=np.int32))
    windows = normalized_windows(dataset)
    changes = windows - windows[:, :1]
    size = np.sqrt(np.mean(changes**2, axis=0))
    assert (size[1:] > 0).all() and (size[0] == 0).all()
    expected = np.clip(changes / np.where(size > 0, 4 * size, np.inf), -1.0, 1.0)
    np.testing.assert_allclose(batch.plans, expected, atol=1e-5)
    np.testing.assert_allclose(batch.condition["start"], windows[:, 0], atol=1e-5)
    stored = stage.metadata["normalizers"]["changes"]
    np.testing.assert_allclose(stored["scale"], 4 * size, rtol=1e-4)
    units = normalizer_from_dict(stored)
    found = units.decode(batch.plans, windows[:, 0])
    np.testing.assert_allclose(found, windows, atol=1e-4)
    np.testing.assert_allclose(
        units.encode(9 * windows), np.clip(9 * expected, -1.0, 1.0), atol=1e-4
    )
    noise = resolve_sigma_data(
        from_mapping({"diffusion": {"sigma_data": None}}, settings), dataset
    )
    root = np.sqrt(np.mean(expected**2))
    assert noise.diffusion.sigma_data == pytest.approx(root, abs=1e-4)


def test_a_known_start_is_pinned_alone():
    rng = np.random.default_rng(0)
    plans, start = rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 3))
    found = np.asarray(pin_ends(jnp.asarray(plans), jnp.asarray(start)))
    np.testing.assert_allclose(found[:, 0], start, rtol=1e-6)
    np.testing.assert_allclose(found[:, 1:], plans[:, 1:], rtol=1e-6)
    moved = np.asarray(pin_ends(jnp.asarray(plans), jnp.asarray(start), 2)) - plans
    move = start - plans[:, 0]
    np.testing.assert_allclose(moved[:, 1], move / 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(moved[:, 2:], 0.0, atol=1e-6)


@pytest.mark.parametrize("kind", ["states", "actions"])
def test_the_return_of_a_plan_is_that_from_its_start_on(paid, kind):
    plan = FREE if kind == "states" else {"kind": kind, "stride": 1}
    plan = plan | ({} if kind == "states" else {"conditioning": "film"})
    settings = free_settings(plan=plan)
    stage = reward_stage(settings, paid)
    train, _ = split_episodes(paid.episodes.starts, 0.3, settings.dataset.seed)
    assert stage.num_rows == len(train) < sum(LENGTHS)
    rows = np.arange(len(train), dtype=np.int32).reshape(1, -1).repeat(2, axis=0)
    batch = stage.gather(stage.data, rows)
    states = paid.observation_normalizer.normalize(paid.episodes.observations)
    np.testing.assert_allclose(batch.observations[1], states[train], atol=1e-5)
    if kind == "states":
        plans = normalized_windows(paid)[train].reshape(len(train), -1)
        np.testing.assert_allclose(batch.inputs[0], plans, atol=1e-5)
    else:
        actions = paid.action_normalizer.normalize(paid.episodes.actions)
        np.testing.assert_allclose(batch.inputs[0][:, :2], actions[train], atol=1e-5)
    options = settings.reward
    returns = return_to_go(paid.episodes, options.discount, 0.0)
    low, high = returns.min(), returns.max()
    expected = (returns[train] - low) / (high - low) * 2 - 1
    np.testing.assert_allclose(batch.targets[1], expected, atol=1e-4)


# --- ratings


def test_a_whole_plan_is_rated_from_its_start(paid):
    """Clipped to the data's range, beyond which nothing is gained."""
    settings = free_settings()
    dims = dimensions(settings, paid)
    method = RewardEnsemble.from_settings(settings, dims)
    params = random_like(jax.eval_shape(method.init, jax.random.key(0)))
    rng = np.random.default_rng(0)
    plans = rng.normal(size=(3, HORIZON, 4)).astype(np.float32)
    start = rng.normal(size=(3, 4)).astype(np.float32)
    rate = method.plan_return_fn(params, 1.5)
    flat = np.clip(plans, -1.0, 1.0).reshape(3, -1)
    members = [
        method.network.apply(
            {"params": jax.tree.map(lambda leaf, i=i: leaf[i], params)}, start, flat
        )
        for i in range(2)
    ]
    expected = np.mean(members, axis=0) - 1.5 * np.std(members, axis=0)
    np.testing.assert_allclose(rate(plans, {"start": start}), expected, rtol=1e-4)


def test_a_critic_rates_the_states_that_are_planned(paid):
    """The mean of V after the first state, whatever the plan begins in."""
    settings = free_settings(critic={"num_members": 2, "widths": (8,)})
    dims = dimensions(settings, paid)
    method = Critic.from_settings(settings, dims, 0.25)
    params = random_like(jax.eval_shape(method.init, jax.random.key(0)))
    plans = np.random.default_rng(0).uniform(-1, 1, (3, HORIZON, 4)).astype(np.float32)
    rate = method.plan_return_fn(params, 2.0)
    expected = []
    for plan in plans:
        values = []
        for state in plan[1:]:
            members = [
                0.25
                + method.network.apply(
                    {"params": jax.tree.map(lambda x, i=i: x[i], params["v"])},
                    state[None],
                    np.zeros((1, 0), np.float32),
                )[0]
                for i in range(2)
            ]
            values.append(np.mean(members) - 2.0 * np.std(members))
        expected.append(np.mean(values))
    np.testing.assert_allclose(rate(plans, {}), expected, rtol=1e-4)
    other = plans.copy()
    other[:, 0] = 0.5
    np.testing.assert_array_equal(rate(other, {}), rate(plans, {}))


@pytest.mark.parametrize(
    ("plan", "reward", "message"),
    [
        (
            {},
            {"target": "return_to_go"},
            "config.reward.target: expected plan_return .*goal_size = 0, found 'return",
        ),
        (
            {"split_at_goals": True},
            {},
            "config.plan.split_at_goals: expected False .*goal_size is 0.*found True",
        ),
        (
            {"relative": True},
            {},
            "config.plan.relative: expected False, or .*'film', .*found True",
        ),
    ],
)
def test_what_has_no_meaning_without_a_goal_is_named(paid, plan, reward, message):
    settings = free_settings(plan=plan, reward={"target": "plan_return"} | reward)
    with pytest.raises(ConfigError, match=message):
        reward_stage(settings, paid)


def test_a_model_of_other_plans_does_not_rate_them(paid, tmp_path):
    """Of another stride, or of changes where plans hold states."""
    for name, plan in (("stride", {"stride": 1}), ("relative", RELATIVE)):
        stage = reward_stage(free_settings(plan=plan), paid)
        save_untrained(stage, tmp_path / name)
    save_untrained(plan_stage("teacher", free_settings(), paid), tmp_path / "teacher")
    for name, message in (
        ("stride", "stride: expected config.plan.stride = 2 .*, found 1"),
        ("relative", r"normalizers \(changes\) differ"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_planner(
                tmp_path / "teacher",
                num_steps=1,
                num_candidates=2,
                reward=tmp_path / name,
            )


def test_a_critic_clips_to_the_datas_range(paid):
    settings = free_settings(plan=RELATIVE, critic={"num_members": 2, "widths": (8,)})
    dims = dimensions(settings, paid)
    changes = Changes(np.full((HORIZON, 4), 3.0, np.float32), 1.0)
    method = Critic.from_settings(settings, dims, 0.0, changes)
    params = random_like(jax.eval_shape(method.init, jax.random.key(0)))
    rate = method.plan_return_fn(params, 0.0)
    start = {"start": np.zeros((1, 4), np.float32)}
    far = np.ones((1, HORIZON, 4), np.float32)
    np.testing.assert_allclose(rate(far, start), rate(far / 2, start), rtol=1e-5)
    assert not np.allclose(rate(far, start), rate(far / 9, start))


def test_a_planner_knows_the_units_of_its_plans(paid):
    settings = free_settings(plan=RELATIVE)
    dims = dimensions(settings, paid)
    normalizers = paid.observation_normalizer, paid.action_normalizer
    with pytest.raises(ValueError, match="changes: expected the units .*found None"):
        Planner(settings, dims, "teacher", {}, *normalizers, 1)


def test_relative_plans_of_actions_are_named(paid):
    settings = state_settings(
        plan={"kind": "actions", "relative": True},
        reward={"target": "return_to_go"},
        diffusion={"sigma_data": None},
    )
    settings = resolve_sigma_data(settings, paid)
    with pytest.raises(ConfigError, match="config.plan.relative: expected False"):
        plan_stage("teacher", settings, paid)
