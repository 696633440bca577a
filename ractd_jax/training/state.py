"""The first training state, the optimiser and the EMA."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from ractd_jax.settings import Optimizer
from ractd_jax.storage.state import TrainState


def make_optimizer(
    settings: Optimizer,
    num_steps: int,
    learning_rate: jax.typing.ArrayLike | None = None,
) -> optax.GradientTransformation:
    """AdamW with linear warm-up, then cosine to 0 or a constant rate.

    Args:
      settings: settings of the optimiser.
      num_steps: steps of the training.
      learning_rate: replaces the settings' rate; it may be traced.
    """
    warmup = min(settings.warmup_steps, num_steps)
    if settings.schedule == "cosine":
        share = optax.warmup_cosine_decay_schedule(
            0.0 if warmup else 1.0, 1.0, warmup, max(num_steps, warmup + 1)
        )
    else:
        share = optax.linear_schedule(0.0, 1.0, max(warmup, 1))
    rate = settings.learning_rate if learning_rate is None else learning_rate
    adamw = optax.adamw(
        lambda step: rate * share(step),
        settings.beta1,
        settings.beta2,
        weight_decay=settings.weight_decay,
    )
    if settings.max_grad_norm is not None:
        return optax.chain(optax.clip_by_global_norm(settings.max_grad_norm), adamw)
    return adamw


def ema_decay(step: jax.Array, settings: Optimizer) -> jax.Array:
    """1 - (1 + k)^-power, capped: a short memory at first, a long one at the end."""
    decay = 1.0 - (1.0 + step) ** -settings.ema_power
    return jnp.minimum(decay, settings.ema_max_decay)


def create_state(
    params: Any, optimizer: optax.GradientTransformation, with_target: bool
) -> TrainState:
    """A state at step 0; EMA and target are copies, as the state is donated."""

    def copy():
        return jax.tree.map(jnp.copy, params)

    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema_params=copy(),
        target_params=copy() if with_target else None,
        opt_state=optimizer.init(params),
    )
