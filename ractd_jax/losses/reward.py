"""The reward model's regression loss and the student's reward term."""

from __future__ import annotations

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp


def regression_loss(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean squared error of [M, B] predictions of M members, summed over members.

    The sum leaves each member the gradient that it would have alone.
    """
    chex.assert_rank(predictions, 2)
    chex.assert_equal_shape([predictions, targets])
    return jnp.sum(jnp.mean(jnp.square(predictions - targets), axis=-1))


def pessimistic_return(
    predictions: jax.Array, pessimism: jax.typing.ArrayLike
) -> jax.Array:
    """[M, B] -> [B]: mean - pessimism * standard deviation over the members.

    With one member it is that member's prediction.
    """
    chex.assert_rank(predictions, 2)
    mean = jnp.mean(predictions, axis=0)
    variance = jnp.mean(jnp.square(predictions - mean), axis=0)
    # The square root's gradient is infinite at zero, where all members agree.
    safe = jnp.where(variance > 0.0, variance, 1.0)
    std = jnp.where(variance > 0.0, jnp.sqrt(safe), 0.0)
    return mean - pessimism * std


def reward_loss(
    reward_fn: Callable[[jax.Array, jax.Array], jax.Array],
    observations: jax.Array,
    plans: jax.Array,
    data_actions: jax.Array,
    advantage_cap: jax.typing.ArrayLike = jnp.inf,
) -> tuple[jax.Array, jax.Array]:
    """L_R = -mean min(R(s_n, a_n), R(s_n, a_data) + cap), a_n the plan's first action.

    Thesis eq. 3.8 with a guard against exploiting the reward model: once an action is
    predicted to return `advantage_cap` more than the data's own action in that state,
    its gradient is zero. A larger reward weight then arrives at the cap sooner instead
    of running past what the model knows. An infinite cap is the papers' loss.

    Actions are clipped to the data's range first, as the planner clips what it
    executes: beyond it there is nothing to gain.

    Args:
      reward_fn: R(observations [B, O], actions [B, A]) -> [B], normalised.
      observations: [B, O] normalised current observations.
      plans: [B, H, A] predicted clean plans.
      data_actions: [B, A] normalised actions that the data has there.
      advantage_cap: in units of the normalised return.

    Returns:
      (loss, the [B] predicted returns before the cap).
    """
    predicted = reward_fn(observations, jnp.clip(plans[:, 0], -1.0, 1.0))
    ceiling = reward_fn(observations, data_actions) + advantage_cap
    capped = jnp.minimum(predicted, jax.lax.stop_gradient(ceiling))
    return -jnp.mean(capped), predicted
