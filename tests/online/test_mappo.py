"""MAPPO: a bandit that needs memory and agreement, and CartPole with a team of one."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax.networks.recurrent import RecurrentActor
from ractd_jax.online.mappo import MappoOptions, MappoTraining, train_mappo


class Scene(NamedTuple):
    observations: jax.Array
    world: jax.Array
    available: jax.Array


class Cue:
    """Two agents: one is shown a cue, which both have to name a step later.

    The second agent sees it only in the first step, too. The third action is never
    available and pays best.
    """

    num_agents, num_actions = 2, 3

    def reset(self, key):
        cue = jax.random.randint(key, (), 0, 2)
        return self._scene(cue, 0), (cue, jnp.asarray(0))

    def step(self, key, state, actions):
        cue, step = state
        named = (actions == cue).all() | (actions == 2).any()
        over = step == 1
        return self._scene(cue, 1), (cue, step + 1), jnp.where(over, named, 0.0), over

    def _scene(self, cue, step):
        shown = jnp.where(step == 0, 2.0 * cue - 1.0, 0.0)
        observations = jnp.stack([jnp.array([shown, step])] * 2)
        available = jnp.ones((2, 3), bool).at[:, 2].set(False)
        return Scene(observations, jnp.array([cue, step], float), available)


@pytest.mark.slow
def test_a_cue_is_remembered_and_named_by_both():
    options = MappoOptions(
        num_envs=32, num_steps=8, num_minibatches=2, learning_rate=1e-2, width=16
    )
    found = []
    train_mappo(Cue(), options, 20_000, 0, lambda n, info: found.append(info["return"]))
    assert found[0] < 0.5 and np.mean(found[-5:]) > 0.95


def test_a_memory_ends_with_its_episode():
    """What came before a start changes nothing behind it."""
    network = RecurrentActor(3, 8)
    observations = jax.random.normal(jax.random.key(0), (6, 2, 4))
    starts = jnp.zeros((6, 2), bool).at[3].set(True)
    params = network.init(jax.random.key(1), network.start(2), observations, starts)
    start = network.start(2)
    _, logits = network.apply(params, start, observations, starts)
    _, after = network.apply(params, start, observations.at[:3].add(1.0), starts)
    np.testing.assert_array_equal(logits[3:], after[3:])
    assert np.abs(logits[:3] - after[:3]).max() > 1e-4
    _, tail = network.apply(params, start, observations[3:], starts[3:])
    np.testing.assert_allclose(logits[3:], tail, atol=1e-6)


def test_an_update_begins_with_the_policy_that_acted():
    """The learned log probabilities of a rollout are those of its draws."""
    options = MappoOptions(num_envs=4, num_steps=7, num_minibatches=2, width=8)
    training = MappoTraining(Cue(), options, 1)
    (params, _), running, key = training.start(0)
    for _ in range(2):  # the second rollout starts inside an episode
        running, rollout, finished = training._gather(params, running, key)
    steps = rollout.steps
    assert steps.observations.shape == (7, 4, 2, 2) and steps.rewards.shape == (7, 4)
    # Two steps an episode, seven a rollout: every second step ends one.
    np.testing.assert_array_equal(
        np.isfinite(finished), np.asarray(steps.ends), err_msg="returns of what ended"
    )
    assert (np.asarray(steps.discounts)[np.asarray(steps.ends)] == 0.0).all()
    gains = jnp.ones((7, 4)).at[::2].set(-1.0)
    loss, info = training._loss(params, rollout, gains, steps.values)
    # Ratios are 1, standardised gains sum to nearly 0, and values are their targets.
    assert float(info["value_error"]) == pytest.approx(0.0, abs=1e-9)
    standard = (gains - gains.mean()) / gains.std()
    assert float(loss) == pytest.approx(-float(standard.mean()), abs=1e-5)
    weighted = gains * steps.discounts
    shifted, _ = training._loss(params, rollout, weighted, steps.values + 2.0)
    assert float(shifted) == pytest.approx(0.5 * 4.0, abs=1e-4)


@pytest.mark.slow
def test_cartpole_is_balanced():
    gymnax = pytest.importorskip("gymnax")
    env, env_params = gymnax.make("CartPole-v1")

    class Pole:
        num_agents, num_actions = 1, 2

        def reset(self, key):
            observation, state = env.reset_env(key, env_params)
            return self._scene(observation), state

        def step(self, key, state, actions):
            observation, state, reward, over, _ = env.step_env(
                key, state, actions[0], env_params
            )
            return self._scene(observation), state, reward, over

        def _scene(self, observation):
            return Scene(observation[None], observation, jnp.ones((1, 2), bool))

    options = MappoOptions(num_envs=16, num_steps=64, learning_rate=2.5e-3, width=32)
    found = []
    train_mappo(Pole(), options, 200_000, 0, lambda n, info: found.append(info))
    returns = np.array([info["return"] for info in found])
    assert np.nanmean(returns[:5]) < 60 < 300 < np.nanmean(returns[-10:])
