"""PPO: its estimates by hand, a bandit with masks, CartPole."""

import dataclasses

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax.errors import ConfigError
from ractd_jax.online.gym import train_ppo
from ractd_jax.online.ppo import (
    ActorCritic,
    PpoOptions,
    Steps,
    advantages,
    init_learner,
    make_act,
    make_update,
    masked_logits,
)
from ractd_jax.recording.behaviour import load_snapshots
from ractd_jax.recording.training import (
    BehaviourTraining,
    policy_from_actor,
    train_behaviour,
)


def steps_of(rewards, values, next_values, discounts, ends) -> Steps:
    """One environment's steps, [T] each."""
    shown = [np.asarray(x, float)[:, None] for x in (rewards, discounts, next_values)]
    count = len(rewards)
    blank = np.zeros((count, 1))
    return Steps(
        *(blank[..., None], np.ones((count, 1, 2), bool), blank.astype(int), blank),
        np.asarray(values, float)[:, None],
        *shown,
        np.asarray(ends, bool)[:, None],
    )


def test_advantages_by_hand():
    """Two episodes, the first ended by a terminal step, the second by a time limit."""
    steps = steps_of(
        rewards=[1.0, 2.0, 3.0, 4.0],
        values=[0.5, 0.25, 1.0, 2.0],
        next_values=[0.25, 9.0, 2.0, 5.0],  # 9: of a state that nothing follows
        discounts=[0.9, 0.0, 0.9, 0.9],
        ends=[False, True, False, True],
    )
    found = np.asarray(advantages(steps, 0.8))[:, 0]
    second = 2.0 - 0.25
    first = 1.0 + 0.9 * 0.25 - 0.5 + 0.9 * 0.8 * second
    fourth = 4.0 + 0.9 * 5.0 - 2.0
    third = 3.0 + 0.9 * 2.0 - 1.0 + 0.9 * 0.8 * fourth
    np.testing.assert_allclose(found, [first, second, third, fourth], rtol=1e-6)


def test_with_lambda_1_an_advantage_is_the_return_less_the_value():
    rng = np.random.default_rng(0)
    values, rewards = rng.normal(size=6), rng.normal(size=6)
    steps = steps_of(rewards, values, [*values[1:], 0.0], [0.9] * 5 + [0.0], [0] * 6)
    returns = [sum(0.9**k * rewards[t + k] for k in range(6 - t)) for t in range(6)]
    found = np.asarray(advantages(steps, 1.0))[:, 0]
    np.testing.assert_allclose(found, returns - values, rtol=1e-5)


def test_what_is_not_available_is_never_drawn():
    logits = jnp.array([[5.0, 0.0, 0.0]])
    available = jnp.array([[False, True, True]])
    probs = jax.nn.softmax(masked_logits(logits, available))
    np.testing.assert_allclose(probs, [[0.0, 0.5, 0.5]])


@pytest.mark.parametrize("mask", [False, True])
def test_a_bandit_is_solved(mask):
    """The best of the arms that are available, in each of two contexts."""
    payoffs = np.array([[0.1, 0.5, 0.9], [0.8, 0.2, 0.4]])
    available = np.ones((2, 3), bool)
    if mask:
        available[[0, 1], [2, 0]] = False
    best = np.where(available, payoffs, -1).argmax(axis=1)
    options = PpoOptions(num_steps=16, batch_size=64, num_epochs=4, learning_rate=3e-3)
    network = ActorCritic(3, (16,))
    learner = init_learner(network, options, 2, 0)
    act, update = make_act(network), make_update(network, options)
    rng = np.random.default_rng(0)
    for _ in range(40):
        contexts = rng.integers(2, size=(16, 8))
        seen = np.eye(2, dtype=np.float32)[contexts]
        learner, *acted = act(learner, seen.reshape(-1, 2), available[contexts.ravel()])
        actions, log_probs, values = (np.asarray(x).reshape(16, 8) for x in acted)
        noise = 0.1 * rng.normal(size=(16, 8))
        steps = Steps(
            seen,
            available[contexts],
            actions,
            log_probs,
            values,
            payoffs[contexts, actions] + noise,
            np.zeros((16, 8)),
            np.zeros((16, 8)),
            np.ones((16, 8), bool),
        )
        learner, info = update(learner, steps)
    logits, values = network.apply({"params": learner.params}, jnp.eye(2))
    probs = jax.nn.softmax(masked_logits(logits, available))
    assert (probs[np.arange(2), best] > 0.9).all()
    np.testing.assert_allclose(values, payoffs[np.arange(2), best], atol=0.15)
    assert np.isfinite(float(info["loss"]))


class Corridor(gymnasium.Env):
    """Five cells; the right end pays 1 and ends, a step costs nothing."""

    observation_space = gymnasium.spaces.Box(0, 1, (5,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell = 0
        return np.eye(5, dtype=np.float32)[0], {}

    def step(self, action):
        self.cell = max(0, self.cell + (1 if action else -1))
        over = self.cell == 4
        return np.eye(5, dtype=np.float32)[self.cell], float(over), over, False, {}


def test_a_corridor_is_walked_to_its_end():
    envs = [gymnasium.wrappers.TimeLimit(Corridor(), 12) for _ in range(4)]
    options = PpoOptions(num_steps=32, batch_size=64, num_epochs=4, discount=0.95)
    seen = []

    def on_update(steps, params, info):
        seen.append((steps, info))

    network, params = train_ppo(envs, options, 4_000, 0, (32,), on_update)
    logits, values = network.apply({"params": params}, jnp.eye(5))
    assert (logits[:4].argmax(axis=1) == 1).all()
    assert np.all(np.diff(values[:4]) > 0)  # nearer is better
    assert seen[-1][0] >= 4_000 and seen[-1][1]["return"] == 1.0
    again = train_ppo(envs, options, 256, 0, (32,))[1]
    twice = train_ppo(envs, options, 256, 0, (32,))[1]
    jax.tree.map(np.testing.assert_array_equal, again, twice)


@pytest.mark.slow
def test_cart_pole_is_balanced():
    """At least 400 of 500 steps, on average over the last episodes of a training."""
    envs = [gymnasium.make("CartPole-v1") for _ in range(4)]
    options = PpoOptions(
        num_steps=256, batch_size=128, discount=0.98, learning_rate=1e-3
    )
    returns = []

    def on_update(steps, params, info):
        returns.append(info["return"])

    train_ppo(envs, options, 60_000, 0, (64, 64), on_update)
    assert np.nanmean(returns[-8:]) > 400


SMALL = BehaviourTraining(
    env="CartPole-v1",
    algorithm="ppo",
    total_steps=512,
    snapshot_every=256,
    eval_episodes=2,
    num_replay=2,
    actor_widths=(8,),
    critic_widths=(8,),
    learning_rate=1e-3,
    discount=0.9,
    entropy=-1.0,
    update_every=128,
    updates_per_step=1.0,
    seed=0,
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": "Pendulum-v1"}, "--algorithm=ppo: expected .* discrete actions"),
        ({"update_every": 1}, "--update_every: expected at least 64"),
    ],
)
def test_what_ppo_cannot_do_is_refused(tmp_path, changes, message):
    options = dataclasses.replace(SMALL, **changes)
    with pytest.raises(ConfigError, match=message):
        train_behaviour(options, tmp_path / "w", tmp_path / "p.npz", "by hand")
    assert list(tmp_path.iterdir()) == []


def test_a_behaviour_policy_acts_as_its_network(tmp_path):
    """train_behaviour's PPO: the snapshots of a training on CartPole."""
    options = SMALL
    train_behaviour(options, tmp_path, tmp_path / "policy.npz", "by hand")
    snapshots = load_snapshots(tmp_path / "policy.npz")
    steps = [about["env_steps"] for about in snapshots.metadata["snapshots"].values()]
    assert steps[0] == 128 and steps[-1] in (384, 512) and len(steps) == 2
    network = ActorCritic(2, (8,))
    params = init_learner(network, PpoOptions(), 4, 0).params
    seen = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    logits, _ = network.apply({"params": params}, seen)
    policy = policy_from_actor(params)
    np.testing.assert_array_equal(policy.act(seen, None), logits.argmax(axis=1))
