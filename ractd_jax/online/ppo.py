"""Proximal policy optimisation with discrete actions (Schulman et al. 2017).

Pure functions of arrays; :mod:`ractd_jax.online.gym` gathers them from environments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

# What is not available is never drawn, and has a finite gradient.
_NEVER = -1e9


@dataclasses.dataclass(frozen=True)
class PpoOptions:
    """Options of a training; the defaults are those of highway-env's example.

    Attributes:
      num_steps: T, steps of each environment between updates.
      batch_size: of a minibatch.
      num_epochs: passes over the steps of an update.
      learning_rate: of Adam.
      discount: gamma.
      gae_lambda: of the advantages (Schulman et al. 2016).
      clip: of the ratio of probabilities.
      value_weight: of the value's squared error.
      entropy_weight: of the entropy.
      max_grad_norm: global norm that gradients are clipped at.
    """

    num_steps: int = 768
    batch_size: int = 64
    num_epochs: int = 10
    learning_rate: float = 5e-4
    discount: float = 0.8
    gae_lambda: float = 0.95
    clip: float = 0.2
    value_weight: float = 0.5
    entropy_weight: float = 0.0
    max_grad_norm: float = 0.5


class ActorCritic(nn.Module):
    """An MLP for the actions' logits and another for the value.

    Attributes:
      num_actions: A.
      widths: of the hidden layers of both.
    """

    num_actions: int
    widths: Sequence[int] = (256, 256)

    @nn.compact
    def __call__(self, observations: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[..., O] -> (logits [..., A], values [...])."""
        logits = self._mlp("actor", observations, self.num_actions, 0.01)
        return logits, self._mlp("critic", observations, 1, 1.0)[..., 0]

    def _mlp(self, name, hidden, size, scale):
        inner, head = (nn.initializers.orthogonal(gain) for gain in (2**0.5, scale))
        for i, width in enumerate(self.widths):
            dense = nn.Dense(width, kernel_init=inner, name=f"{name}_{i}")
            hidden = nn.tanh(dense(hidden))
        return nn.Dense(size, kernel_init=head, name=f"{name}_out")(hidden)


class Steps(NamedTuple):
    """Steps of N environments, [T, N, ...].

    Attributes:
      observations: [T, N, O] that was acted on.
      available: [T, N, A] bool, actions that could be taken.
      actions: int32 [T, N].
      log_probs: [T, N] of the actions when they were drawn.
      values: [T, N] that were predicted.
      rewards: [T, N].
      discounts: [T, N] of what follows: gamma, or 0 behind a terminal step.
      next_values: [T, N] of the state that a step led to; of a step that ended an
        episode by a time limit, of the state that it was cut off in.
      ends: [T, N] bool, whether the episode ended with the step.
    """

    observations: Any
    available: Any
    actions: Any
    log_probs: Any
    values: Any
    rewards: Any
    discounts: Any
    next_values: Any
    ends: Any


def masked_logits(logits: jax.Array, available: jax.Array) -> jax.Array:
    """[..., A] `logits`, with no chance for what is not `available`."""
    return jnp.where(available, logits, _NEVER)


def advantages(steps: Steps, gae_lambda: float) -> jax.Array:
    """[T, N] generalised advantage estimates; nothing is carried over an end."""
    chex.assert_equal_shape([steps.rewards, steps.next_values, steps.ends])
    errors = steps.rewards + steps.discounts * steps.next_values - steps.values
    carried = steps.discounts * gae_lambda * (1.0 - jnp.asarray(steps.ends, float))

    def body(later, step):
        error, share = step
        found = error + share * later
        return found, found

    _, found = jax.lax.scan(
        body, jnp.zeros(errors.shape[1:]), (errors, carried), reverse=True
    )
    return found


def clipped_surrogate(
    log_probs: jax.Array,
    actions: jax.Array,
    old_log_probs: jax.Array,
    gains: jax.Array,
    clip: float,
) -> tuple[jax.Array, jax.Array]:
    """PPO's objective of a policy, to maximise, and the policy's mean entropy.

    Args:
      log_probs: [..., A] of all actions.
      actions: int32 [...] that were taken.
      old_log_probs: [...] theirs when they were taken.
      gains: [...] their advantages, which are standardised here.
      clip: of the ratio of probabilities.
    """
    chosen = jnp.take_along_axis(log_probs, actions[..., None], axis=-1)[..., 0]
    ratio = jnp.exp(chosen - old_log_probs)
    gains = (gains - gains.mean()) / (gains.std() + 1e-8)
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    surrogate = jnp.minimum(ratio * gains, clipped * gains).mean()
    entropy = -(jnp.exp(log_probs) * log_probs).sum(axis=-1).mean()
    return surrogate, entropy


class _Batch(NamedTuple):
    observations: jax.Array
    available: jax.Array
    actions: jax.Array
    log_probs: jax.Array
    advantages: jax.Array
    targets: jax.Array


def ppo_loss(
    network: ActorCritic, params: Any, batch: _Batch, options: PpoOptions
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The clipped surrogate, the value's error and the entropy; scalars to log."""
    logits, values = network.apply({"params": params}, batch.observations)
    log_probs = jax.nn.log_softmax(masked_logits(logits, batch.available))
    surrogate, entropy = clipped_surrogate(
        log_probs, batch.actions, batch.log_probs, batch.advantages, options.clip
    )
    error = jnp.square(values - batch.targets).mean()
    loss = -surrogate + options.value_weight * error - options.entropy_weight * entropy
    return loss, {"loss": loss, "value_error": error, "entropy": entropy}


class Learner(NamedTuple):
    """What a training changes.

    Attributes:
      params: of the network.
      optimizer: its state.
      key: of everything that is drawn.
    """

    params: Any
    optimizer: Any
    key: jax.Array


def _optimizer(options: PpoOptions) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(options.max_grad_norm),
        optax.adam(options.learning_rate, eps=1e-5),
    )


def init_learner(
    network: ActorCritic, options: PpoOptions, observation: int, seed: int
) -> Learner:
    """A learner before its first step, for observations [O]."""
    key, init_key = jax.random.split(jax.random.key(seed))
    params = network.init(init_key, jnp.zeros((1, observation)))["params"]
    return Learner(params, _optimizer(options).init(params), key)


def make_update(network: ActorCritic, options: PpoOptions):
    """(learner, steps [T, N, ...]) -> (learner, scalars); jitted."""
    optimizer = _optimizer(options)

    def minibatch(state, batch):
        params, opt_state = state
        grad_fn = jax.grad(lambda p: ppo_loss(network, p, batch, options), has_aux=True)
        grads, info = grad_fn(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), info

    @jax.jit
    def update(learner: Learner, steps: Steps):
        found = advantages(steps, options.gae_lambda)
        names = ("observations", "available", "actions", "log_probs")
        parts = [getattr(steps, name) for name in names]
        parts += [found, found + steps.values]
        flat = _Batch(*(jnp.asarray(x).reshape(-1, *x.shape[2:]) for x in parts))
        count = flat.actions.shape[0]
        batches = max(1, count // options.batch_size)
        size = count // batches

        def epoch(state, key):
            order = jax.random.permutation(key, count)[: batches * size]
            rows = order.reshape(batches, size)
            shuffled = jax.tree.map(lambda x: x[rows], flat)
            return jax.lax.scan(minibatch, state, shuffled)

        key, epoch_key = jax.random.split(learner.key)
        keys = jax.random.split(epoch_key, options.num_epochs)
        state, infos = jax.lax.scan(epoch, (learner.params, learner.optimizer), keys)
        return Learner(*state, key), jax.tree.map(jnp.mean, infos)

    return update


def make_act(network: ActorCritic):
    """(learner, observations, available) -> (learner, actions, log probs, values)."""

    @jax.jit
    def act(learner: Learner, observations: jax.Array, available: jax.Array):
        key, draw_key = jax.random.split(learner.key)
        logits, values = network.apply({"params": learner.params}, observations)
        log_probs = jax.nn.log_softmax(masked_logits(logits, available))
        actions = jax.random.categorical(draw_key, log_probs)
        chosen = jnp.take_along_axis(log_probs, actions[:, None], axis=1)[:, 0]
        return learner._replace(key=key), actions, chosen, values

    return act
