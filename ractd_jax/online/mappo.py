"""Multi-agent PPO (Yu et al. 2022) on environments that are pure functions.

All agents of a team share a recurrent actor; a critic of the training sees the whole
world, and values it for the team, whose agents are all paid alike. Environments run
side by side inside the compiled update, and start anew when they end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from ractd_jax.networks.recurrent import RecurrentActor
from ractd_jax.online.ppo import Steps, advantages, clipped_surrogate, masked_logits


class Team(Protocol):
    """An environment of one team, such as :class:`ractd_jax.tasks.battle.Battle`.

    A scene has ``observations`` [n, O], ``world`` [W] and ``available`` [n, A].
    """

    num_agents: int
    num_actions: int

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        """(scene, state) of a new episode."""

    def step(self, key: jax.Array, state: Any, actions: jax.Array):
        """(scene, state, reward, whether the episode is over); actions [n]."""


@dataclasses.dataclass(frozen=True)
class MappoOptions:
    """Options of a training, near those of JaxMARL's example.

    That has layers of 128, 128 steps and a gradient norm of 0.25.

    Attributes:
      num_envs: N, environments side by side.
      num_steps: T, steps of each between updates.
      num_epochs: passes over the steps of an update.
      num_minibatches: parts of the environments in a pass; divides N.
      learning_rate: of Adam, which falls to 0 over the training.
      discount: gamma.
      gae_lambda: of the advantages.
      clip: of the ratio of probabilities.
      value_weight: of the value's squared error.
      entropy_weight: of the entropy.
      max_grad_norm: global norm that gradients are clipped at.
      width: of the layers.
    """

    num_envs: int = 128
    num_steps: int = 64
    num_epochs: int = 4
    num_minibatches: int = 4
    learning_rate: float = 2e-3
    discount: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    value_weight: float = 0.5
    entropy_weight: float = 0.0
    max_grad_norm: float = 0.5
    width: int = 64


class WorldValue(nn.Module):
    """An MLP of two layers, [..., W] -> [...]."""

    width: int

    @nn.compact
    def __call__(self, world: jax.Array) -> jax.Array:
        for i in range(2):
            init = nn.initializers.orthogonal(2**0.5)
            world = nn.relu(nn.Dense(self.width, kernel_init=init, name=f"d{i}")(world))
        return nn.Dense(1, kernel_init=nn.initializers.orthogonal(1.0))(world)[..., 0]


class _Running(NamedTuple):
    """Where the N environments are between updates.

    Attributes:
      scenes: what is seen, [N, ...].
      states: of the environments.
      hidden: [N n, H] the agents' memories.
      starts: [N] bool, whether an episode starts with `scenes`.
      returns: [N] of the episodes so far.
    """

    scenes: Any
    states: Any
    hidden: jax.Array
    starts: jax.Array
    returns: jax.Array


class _Rollout(NamedTuple):
    """T steps of N environments.

    Attributes:
      steps: of PPO; observations [T, N, n, O], actions and log_probs [T, N, n].
      worlds: [T, N, W].
      starts: [T, N] bool.
      hidden: [N, n, H] the memories before the first step.
    """

    steps: Steps
    worlds: jax.Array
    starts: jax.Array
    hidden: jax.Array


class MappoTraining:
    """The compiled parts of a training.

    Args:
      env: a team's environment.
      options: of the training.
      num_updates: of the whole training, over which the learning rate falls.
    """

    def __init__(self, env: Team, options: MappoOptions, num_updates: int):
        self.env, self.options = env, options
        self.actor = RecurrentActor(env.num_actions, options.width)
        self.critic = WorldValue(options.width)
        each = options.num_epochs * options.num_minibatches
        rate = optax.linear_schedule(options.learning_rate, 0.0, each * num_updates)
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(options.max_grad_norm),
            optax.adam(rate, eps=1e-5),
        )
        self.update = jax.jit(self._update)

    def start(self, seed: int) -> tuple[Any, _Running, jax.Array]:
        """((parameters, optimiser's state), environments, key) before a training."""
        key, *keys = jax.random.split(jax.random.key(seed), 4)
        number = self.options.num_envs
        scenes, states = jax.vmap(self.env.reset)(jax.random.split(keys[0], number))
        agents = number * self.env.num_agents
        hidden, starts = self.actor.start(agents), jnp.ones(number, bool)
        seen = scenes.observations.reshape(1, agents, -1)
        params = {
            "actor": self.actor.init(
                keys[1], hidden, seen, jnp.ones((1, agents), bool)
            )["params"],
            "critic": self.critic.init(keys[2], scenes.world)["params"],
        }
        running = _Running(scenes, states, hidden, starts, jnp.zeros(number))
        return (params, self.optimizer.init(params)), running, key

    def _value(self, params, worlds):
        return self.critic.apply({"params": params["critic"]}, worlds)

    def _step(self, params, running: _Running, key):
        """One step of all environments; what it was goes into a rollout."""
        number, agents = len(running.starts), self.env.num_agents
        draw_key, step_key, reset_key = jax.random.split(key, 3)
        scenes = running.scenes
        hidden, logits = self.actor.apply(
            {"params": params["actor"]},
            running.hidden,
            scenes.observations.reshape(1, number * agents, -1),
            jnp.repeat(running.starts, agents)[None],
        )
        logits = logits.reshape(number, agents, -1)
        log_probs = jax.nn.log_softmax(masked_logits(logits, scenes.available))
        actions = jax.random.categorical(draw_key, log_probs)
        chosen = jnp.take_along_axis(log_probs, actions[..., None], axis=-1)[..., 0]
        keys = jax.random.split(step_key, number)
        after = jax.vmap(self.env.step)(keys, running.states, actions)
        following, states, rewards, over = after
        fresh = jax.vmap(self.env.reset)(jax.random.split(reset_key, number))

        def renewed(new, old):
            return jnp.where(over.reshape(-1, *[1] * (old.ndim - 1)), new, old)

        scenes_after, states = jax.tree.map(renewed, fresh, (following, states))
        returns = running.returns + rewards
        finished = jnp.where(over, returns, jnp.nan)
        kept = jnp.where(over, 0.0, returns)
        running = _Running(scenes_after, states, hidden, over, kept)
        taken = scenes.observations, scenes.available, actions, chosen
        row = taken, scenes.world, rewards, over, finished
        return running, row

    def _gather(self, params, running: _Running, key):
        """(environments, rollout, returns [T, N] of what ended, NaN elsewhere)."""
        hidden = running.hidden.reshape(len(running.starts), self.env.num_agents, -1)
        first = running.starts
        keys = jax.random.split(key, self.options.num_steps)
        running, rows = jax.lax.scan(
            lambda state, each: self._step(params, state, each), running, keys
        )
        taken, worlds, rewards, over, finished = rows
        values = self._value(params, worlds)
        last = self._value(params, running.scenes.world)
        # An episode that is over has no next value, whatever world begins then.
        following = jnp.concatenate([values[1:], last[None]])
        discounts = self.options.discount * (1.0 - over)
        steps = Steps(*taken, values, rewards, discounts, following, over)
        starts = jnp.concatenate([first[None], over[:-1]])
        return running, _Rollout(steps, worlds, starts, hidden), finished

    def _loss(self, params, rollout: _Rollout, gains, targets):
        """Of a minibatch of environments with all their steps."""
        observations = rollout.steps.observations
        count, number, agents, size = observations.shape
        _, logits = self.actor.apply(
            {"params": params["actor"]},
            rollout.hidden.reshape(number * agents, -1),
            observations.reshape(count, number * agents, size),
            jnp.repeat(rollout.starts, agents, axis=1),
        )
        logits = logits.reshape(count, number, agents, -1)
        log_probs = jax.nn.log_softmax(masked_logits(logits, rollout.steps.available))
        surrogate, entropy = clipped_surrogate(
            log_probs,
            rollout.steps.actions,
            rollout.steps.log_probs,
            jnp.repeat(gains[..., None], agents, axis=-1),
            self.options.clip,
        )
        error = jnp.square(self._value(params, rollout.worlds) - targets).mean()
        loss = -surrogate + self.options.value_weight * error
        loss -= self.options.entropy_weight * entropy
        return loss, {"loss": loss, "value_error": error, "entropy": entropy}

    def _update(self, learner, running: _Running, key):
        """Gathers and learns; (learner, environments, key, scalars)."""
        options = self.options
        key, gather_key, epoch_key = jax.random.split(key, 3)
        running, rollout, finished = self._gather(learner[0], running, gather_key)
        gains = advantages(rollout.steps, options.gae_lambda)
        targets = gains + rollout.steps.values
        # The environments' axis is the first of the memories, else the second.
        batch = rollout._replace(hidden=rollout.hidden[None]), gains, targets

        def minibatch(learner, rows):
            params, optimizer = learner
            part, *rest = jax.tree.map(lambda x: x[:, rows], batch)
            part = part._replace(hidden=part.hidden[0])
            loss_fn = jax.grad(self._loss, has_aux=True)
            grads, info = loss_fn(params, part, *rest)
            updates, optimizer = self.optimizer.update(grads, optimizer, params)
            return (optax.apply_updates(params, updates), optimizer), info

        def epoch(learner, key):
            order = jax.random.permutation(key, options.num_envs)
            rows = order.reshape(options.num_minibatches, -1)
            return jax.lax.scan(minibatch, learner, rows)

        keys = jax.random.split(epoch_key, options.num_epochs)
        learner, infos = jax.lax.scan(epoch, learner, keys)
        info = {**jax.tree.map(jnp.mean, infos), "return": jnp.nanmean(finished)}
        return learner, running, key, info


def train_mappo(
    env: Team,
    options: MappoOptions,
    num_env_steps: int,
    seed: int,
    on_update: Callable[[int, dict[str, float]], None] | None = None,
) -> tuple[RecurrentActor, Any]:
    """Trains a team; (network, parameters of the actor).

    Args:
      env: the team's environment.
      options: of the training.
      num_env_steps: steps of all environments together, rounded up to whole updates.
      seed: of the first weights and of everything drawn.
      on_update: called with (env steps so far, scalars of the update, among them the
        mean ``return`` of the episodes that ended in it, NaN without any).
    """
    each = options.num_envs * options.num_steps
    num_updates = -(-num_env_steps // each)
    training = MappoTraining(env, options, num_updates)
    learner, running, key = training.start(seed)
    for update in range(num_updates):
        learner, running, key, info = training.update(learner, running, key)
        if on_update is not None:
            scalars = {name: float(value) for name, value in info.items()}
            on_update((update + 1) * each, scalars)
    return training.actor, jax.device_get(learner[0]["actor"])
