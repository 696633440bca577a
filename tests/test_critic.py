"""Critics: their losses by hand, values of a chain that is solved exactly, ranks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ractd_jax import losses
from ractd_jax.data.episodes import build_episodes
from ractd_jax.data.ranking import preferred_share, rank_correlation, rank_within
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import CheckpointError, ConfigError, DataError
from ractd_jax.methods import Critic, Td3Bc, TransitionBatch
from ractd_jax.recording.rollouts import parts_of_episodes
from ractd_jax.settings import from_mapping
from ractd_jax.storage.trained import load_rating
from ractd_jax.training.loop import train
from ractd_jax.training.stages import base_metadata, make_stage, plan_stage
from ractd_jax.training.stages.base import critic_advantages
from ractd_jax.training.stages.critic import transition_rows, value_scale
from tests.toys import random_weights, save_untrained, toy_dataset, toy_settings

SMALL = {"critic": {"num_steps": 2, "batch_size": 8, "widths": (8,)}}
RUN = {"run": {"steps_per_call": 2, "log_every": 2, "checkpoint_every": 2}}


def small_settings(**sections):
    mlp = {"network": {"kind": "mlp", "mlp_width": 16}}
    return toy_settings(**{**mlp, **SMALL, **RUN, **sections})


# --- losses


@pytest.mark.parametrize("expectile", [0.5, 0.7, 0.9])
def test_expectile_loss_by_hand(expectile):
    values, targets = jnp.array([1.0, 0.0, 2.0]), jnp.array([0.0, 2.0, 2.0])
    expected = 2 * ((1 - expectile) * 1 + expectile * 4 + 0) / 3
    found = losses.expectile_loss(values, targets, expectile)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_expectile_is_where_the_loss_is_least():
    """Of 0 and 1, tau itself."""
    grid = np.linspace(0, 1, 1_001, dtype=np.float32)
    targets = jnp.array([0.0, 1.0])
    found = [losses.expectile_loss(jnp.full(2, v), targets, 0.8) for v in grid]
    assert grid[int(np.argmin(found))] == pytest.approx(0.8, abs=2e-3)


def test_clipped_gradients_keep_values_and_directions():
    def plan_return(plans, condition):
        return (jnp.square(plans) * condition[:, None, None]).sum(axis=(1, 2))

    plans = jnp.array([[[0.3, -0.4]], [[0.03, 0.04]]])
    condition = jnp.array([1.0, 2.0])
    clipped = losses.clip_return_gradient(plan_return, 0.5)
    values, gradient = jax.vjp(lambda x: clipped(x, condition), plans)
    np.testing.assert_allclose(values, plan_return(plans, condition), rtol=1e-6)
    # The first one's gradient, (0.6, -0.8), has length 1; the second's is 0.2 long.
    expected = np.array([[[0.3, -0.4]], [[0.12, 0.16]]])
    np.testing.assert_allclose(gradient(jnp.ones(2))[0], expected, rtol=1e-5)


# --- values

# A chain of four states; action +1 goes right, -1 goes left; the fourth step to the
# right ends the episode and pays 1. Every pair is in the data once.
STATES, GAMMA = 4, 0.9


def chain_batch():
    state, action = np.divmod(np.arange(2 * STATES), 2)
    right = action == 1
    following = np.clip(state + np.where(right, 1, -1), 0, STATES - 1)
    terminal = right & (state == STATES - 1)
    one_hot = np.eye(STATES, dtype=np.float32)
    return TransitionBatch(
        one_hot[state],
        np.where(right, 1.0, -1.0).astype(np.float32)[:, None],
        terminal.astype(np.float32),
        one_hot[following],
        terminal,
    )


def exact_values(best: bool) -> np.ndarray:
    """[8] Q of the chain: of random actions, or of the best ones."""
    batch, q = chain_batch(), np.zeros(2 * STATES)
    following = batch.next_observations.argmax(axis=1)
    for _ in range(500):
        pairs = q.reshape(STATES, 2)
        v = pairs.max(axis=1) if best else pairs.mean(axis=1)
        q = batch.rewards + GAMMA * ~batch.terminals * v[following]
    return q


def learned_values(target: str, expectile: float = 0.7) -> np.ndarray:
    options = {"target": target, "discount": GAMMA, "expectile": expectile}
    options |= {"widths": (32,), "num_members": 2}
    settings = from_mapping({"critic": options})
    critic = Critic.from_settings(settings, Dimensions(STATES, 1, 1, 1))
    assert critic.num_members == 2
    params = critic.init(jax.random.key(0))
    optimizer, batch = optax.adam(3e-3), chain_batch()
    batches = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), batch)

    def step(carry, _):
        params, old, state = carry
        grads = jax.grad(lambda p: critic.loss(p, old, {}, batches, ())[0])(params)
        updates, state = optimizer.update(grads, state)
        params = optax.apply_updates(params, updates)
        old = jax.tree.map(lambda a, b: 0.98 * a + 0.02 * b, old, params)
        return (params, old, state), None

    start = params, params, optimizer.init(params)
    (params, *_), _ = jax.jit(lambda s: jax.lax.scan(step, s, length=2_500))(start)
    rate = critic.reward_fn(params, 0.0)
    advantages = critic.advantages(params, batch.observations, batch.actions)
    assert (np.asarray(advantages).reshape(STATES, 2) @ [-1, 1] > 0).all()
    return np.asarray(rate(batch.observations, batch.actions))


def test_sarsa_learns_the_values_of_the_datas_policy():
    """Random actions'; what follows the terminal is worth nothing."""
    np.testing.assert_allclose(learned_values("sarsa"), exact_values(False), atol=0.02)


def test_iql_learns_values_towards_the_best_actions():
    random, best = exact_values(False), exact_values(True)
    found = learned_values("iql", 0.9)
    # Where much comes later: nearer to the best than to the random actions' values.
    early = best - random > 0.2
    assert early.sum() >= 3 and (found > random)[early].all()
    assert np.abs(found - best)[early].max() < np.abs(found - random)[early].min()


@pytest.mark.slow
def test_td3_bc_acts_between_its_data_and_its_critic():
    """A bandit: the data's action is 0, and the reward is best at 0.5."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1.0, 1.0, (128, 1)).astype(np.float32)
    zeros = np.zeros((128, 2), np.float32)
    rewards = 2.0 - 4.0 * (actions[:, 0] - 0.5) ** 2
    batch = TransitionBatch(zeros, actions, rewards, zeros, np.ones(128, bool))

    def acts(alpha):
        settings = from_mapping(
            {"plan": {"horizon": 1}, "td3_bc": {"alpha": alpha, "widths": (32,)}}
        )
        method = Td3Bc.from_settings(settings, Dimensions(2, 1, 1, 1))
        params, optimizer = method.init(jax.random.key(0)), optax.adam(3e-3)

        def step(carry, key):
            params, state = carry
            draws = method.draw(key, 128)
            loss = lambda p: method.loss(p, params, {}, batch, draws)[0]  # noqa: E731
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None

        keys = jax.random.split(jax.random.key(1), 1_000)
        start = params, optimizer.init(params)
        (params, _), _ = jax.jit(lambda s: jax.lax.scan(step, s, keys))(start)
        return float(method.act(params, zeros[:1])[0, 0])

    assert acts(0.0) == pytest.approx(actions.mean(), abs=0.03)
    assert acts(20.0) == pytest.approx(0.5, abs=0.08)


# --- the stage


def flagged_episodes():
    """Three steps each: one falls, one is timed out, one is cut off by the file."""
    terminals, timeouts = np.zeros((2, 9), bool)
    terminals[2], timeouts[5] = True, True
    return build_episodes(
        {
            "observations": np.arange(9.0)[:, None],
            "actions": np.zeros((9, 1)),
            "rewards": np.ones(9),
            "terminals": terminals,
            "timeouts": timeouts,
        },
        "flags",
    )


def test_last_steps_of_cut_off_episodes_are_left_out():
    episodes = flagged_episodes()
    rows = transition_rows(episodes, np.arange(9))
    assert rows.tolist() == [0, 1, 2, 3, 4, 6, 7]


def test_transitions_are_those_of_the_data():
    dataset = toy_dataset()
    stage = make_stage("critic", small_settings(), dataset)
    rows = np.arange(stage.num_rows, dtype=np.int32)
    batch = stage.gather(stage.data, rows)
    source, normalizer = stage.data.rows, dataset.observation_normalizer
    np.testing.assert_array_equal(
        batch.next_observations,
        normalizer.normalize(dataset.episodes.observations[source + 1]),
    )
    scale = stage.metadata["return_normalizer"]["high"][0]
    np.testing.assert_allclose(
        batch.rewards * scale, dataset.episodes.rewards[source], rtol=1e-5, atol=1e-6
    )
    assert not batch.terminals.any()


def test_data_without_next_states_is_refused():
    dataset = toy_dataset()
    single = dataclasses.replace(
        dataset.episodes, starts=np.arange(121, dtype=np.int32)
    )
    with pytest.raises(DataError, match="more than one step, or terminals"):
        make_stage(
            "critic", small_settings(), dataclasses.replace(dataset, episodes=single)
        )


def test_a_critic_trains_and_says_how_it_ranks(tmp_path, caplog):
    """Noise has nothing to rank by: that is warned of."""
    settings, dataset = small_settings(), toy_dataset()
    stage = make_stage("critic", settings, dataset)
    metrics = stage.probe(train(stage, settings.run, 0, tmp_path / "critic"), "critic")
    assert -1 <= metrics["rank/values"] <= 1 and -1 <= metrics["rank/advantages"] <= 1
    assert (metrics["rank/values"] < 0.1) == ("do not choose by it" in caplog.text)
    metadata = base_metadata("student", settings, dataset)
    critic, params, _ = load_rating(tmp_path / "critic", settings, metadata, 1)
    assert critic.num_members == 1 and params["q"]["head"]["bias"].shape[0] == 1
    with pytest.raises(CheckpointError, match="expected at least 6 members"):
        load_rating(tmp_path / "critic", settings, metadata, 6)


def test_windows_weighted_by_a_critic(tmp_path):
    """Those whose actions it rates high come more often."""
    dataset = toy_dataset()
    save_untrained(make_stage("critic", small_settings(), dataset), tmp_path / "c")
    options = {"weighting": "advantage", "critic": str(tmp_path / "c")}
    settings = small_settings(dataset=options)
    advantages, critic = critic_advantages(settings, dataset)
    assert critic.metadata["stage"] == "critic"
    stage = plan_stage("teacher", settings, dataset)
    assert advantages.shape == (120,) and advantages.std() > 0
    assert advantages[stage.data.index.start].mean() > advantages.mean()
    wrong = small_settings(dataset={**options, "critic": str(tmp_path / "none")})
    with pytest.raises(CheckpointError, match="none: expected a folder of a training"):
        plan_stage("teacher", wrong, dataset)


@pytest.mark.parametrize("stage", ["critic", "td3_bc"])
def test_plans_to_a_goal_have_no_critic(stage):
    settings = small_settings(plan={"kind": "states"})
    message = {
        "critic": "config.plan.goal_size: expected 0 for a critic .*, found 2",
        "td3_bc": "expected.*plans of actions.*found",
    }
    with pytest.raises(ConfigError, match=message[stage]):
        make_stage(stage, settings, toy_dataset())


def test_random_weights_give_finite_losses():
    stage = make_stage("critic", small_settings(), toy_dataset())
    params = random_weights(stage)
    rows = np.arange(40, dtype=np.int32).reshape(5, 8)
    batch = stage.gather(stage.data, rows)
    loss, info = stage.method.loss(params, params, {}, batch, ())
    assert np.isfinite(loss) and info["critic/largest_q"] > 0


# --- ranks


def test_parts_of_a_recording():
    """A part ends with the episode that completes its share."""
    found = parts_of_episodes([5, 5, 3, 8, 2, 9], [9, 8, 10])
    assert found.tolist() == [0, 0, 1, 1, 2, 2]


def test_rank_correlation_within_groups():
    values = np.concatenate([np.arange(200.0), np.arange(200.0)])
    returns = np.concatenate([np.arange(200.0), 1_000 - np.arange(200.0)])
    groups = np.repeat([0, 1], 200)
    assert rank_correlation(values[:200], returns[:200]) == pytest.approx(1.0)
    assert rank_within(values, returns, groups) == pytest.approx(0.0)
    assert rank_correlation(values, np.ones(400)) == 0.0


def test_preferred_share_counts_pairs():
    """Three policies, of which the critic has the last two the wrong way round."""
    states = np.zeros((5, 1))
    actions = [np.full((5, 1), value) for value in (0.0, 2.0, 1.0)]
    found = preferred_share(lambda s, a: a[:, 0], states, actions)
    assert found == pytest.approx(2 / 3)


def test_returns_that_differ_by_rounding_have_no_scale():
    """Episodes of one step; a step of float32 at 5,000, and one of 0.5 %."""
    scales = {}
    for name, factor in {"rounding": 1 + 1e-7, "real": 1.005}.items():
        ends = np.ones(60, bool)
        rewards = np.where(np.arange(60) % 2, 5_000.0, 5_000.0 * factor)
        fields = {
            "observations": np.ones((60, 2)),
            "actions": np.ones((60, 1)),
            "rewards": rewards,
            "terminals": ends,
            "timeouts": ~ends,
        }
        scales[name] = value_scale(build_episodes(fields, "one step"), 0.99)[1]
    assert scales == {"rounding": 1.0, "real": pytest.approx(12.5, rel=1e-3)}
