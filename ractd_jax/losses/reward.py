"""The reward model's regression loss and the student's reward term."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp


def regression_loss(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean squared error of [M, B] predictions of M members, summed over members.

    The sum gives each member the gradient that it would have alone.
    """
    chex.assert_rank(predictions, 2)
    chex.assert_equal_shape([predictions, targets])
    return jnp.sum(jnp.mean(jnp.square(predictions - targets), axis=-1))


def expectile_loss(
    values: jax.Array, targets: jax.Array, expectile: float
) -> jax.Array:
    """Mean ``|tau - 1(target < value)| (target - value)^2`` of [B] values.

    Its minimum is the tau-expectile of the targets, for tau = 1/2 their mean (Kostrikov
    et al., 2022; twice their loss, so that tau = 1/2 is the mean squared error).
    """
    chex.assert_equal_shape([values, targets])
    gap = jax.lax.stop_gradient(targets) - values
    weight = jnp.where(gap < 0.0, 1.0 - expectile, expectile)
    return jnp.mean(2.0 * weight * jnp.square(gap))


def pessimistic_return(
    predictions: jax.Array, pessimism: jax.typing.ArrayLike
) -> jax.Array:
    """[M, B] -> [B]: mean - pessimism * standard deviation over the members.

    One member's standard deviation is 0, so that its own prediction comes back.
    """
    chex.assert_rank(predictions, 2)
    mean = jnp.mean(predictions, axis=0)
    variance = jnp.mean(jnp.square(predictions - mean), axis=0)
    # The square root's gradient is infinite at zero, where all members agree.
    safe = jnp.where(variance > 0.0, variance, 1.0)
    std = jnp.where(variance > 0.0, jnp.sqrt(safe), 0.0)
    return mean - pessimism * std


def clip_return_gradient(
    plan_return_fn: Callable[[jax.Array, Any], jax.Array], max_norm: float
) -> Callable[[jax.Array, Any], jax.Array]:
    """The same values; each plan's gradient is shortened to at most `max_norm`.

    So no plan on which the reward model is steep moves the student further than many
    on which it is not.
    """

    def clipped(plans, condition):
        fixed = jax.lax.stop_gradient(plans)
        values, pull = jax.vjp(lambda x: plan_return_fn(x, condition), fixed)
        (gradient,) = pull(jnp.ones_like(values))
        norm = jnp.sqrt(jnp.sum(jnp.square(gradient), axis=(1, 2), keepdims=True))
        gradient = gradient * jnp.minimum(1.0, max_norm / jnp.maximum(norm, 1e-12))
        moved = jnp.sum(jax.lax.stop_gradient(gradient) * (plans - fixed), axis=(1, 2))
        return jax.lax.stop_gradient(values) + moved

    return clipped


def reward_loss(
    plan_return_fn: Callable[[jax.Array, Any], jax.Array],
    condition: Any,
    plans: jax.Array,
    data_plans: jax.Array,
    advantage_cap: jax.typing.ArrayLike | None = None,
) -> tuple[jax.Array, jax.Array]:
    """L_R = -mean min(R(plan), R(data's plan) + cap).

    Duan (2025), eq. 3.8, with a guard against exploiting the reward model: a plan whose
    predicted return exceeds that of the data's own plan from the same state by more
    than `advantage_cap` has no gradient. A larger reward weight then reaches the cap
    sooner instead of leaving the range that the model knows. None gives eq. 3.8 itself.

    Args:
      plan_return_fn: R(plans [B, H, D], condition) -> [B], such as that of the
        first action.
      condition: what the plans are conditioned on.
      plans: [B, H, D] predicted clean plans.
      data_plans: [B, H, D] the data's own normalised plans for those conditions.
      advantage_cap: in units of the return that `plan_return_fn` gives; None for none.

    Returns:
      (loss, the [B] predicted returns before the cap).
    """
    predicted = plan_return_fn(plans, condition)
    if advantage_cap is None:
        return -jnp.mean(predicted), predicted
    ceiling = plan_return_fn(data_plans, condition) + advantage_cap
    capped = jnp.minimum(predicted, jax.lax.stop_gradient(ceiling))
    return -jnp.mean(capped), predicted
