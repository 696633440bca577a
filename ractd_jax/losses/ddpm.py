"""The simple loss of discrete-time diffusion, on x_0."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ractd_jax.diffusion.ddpm import DdpmCleanFn, DdpmSchedule, add_ddpm_noise
from ractd_jax.losses.distances import DistanceFn


def ddpm_loss(
    clean_fn: DdpmCleanFn,
    plans: jax.Array,
    t: jax.Array,
    noise: jax.Array,
    schedule: DdpmSchedule,
    *,
    distance_fn: DistanceFn,
) -> jax.Array:
    """mean d(clean_fn(x_t, t), x_0); Ho et al. 2020, eq. 14, predicting x_0.

    All timesteps have the same weight, as in Janner et al. (2022).

    Args:
      clean_fn: x_0 from (x [B, H, D], t [B]).
      plans: [B, H, D] clean normalised plans x_0.
      t: int32 [B] timesteps in 0 .. T-1.
      noise: [B, H, D] standard normal draws.
      schedule: from :func:`ractd_jax.diffusion.ddpm_schedule`.
      distance_fn: from :func:`ractd_jax.losses.distance`.
    """
    noisy = add_ddpm_noise(schedule, plans, t, noise)
    prediction = clean_fn(noisy, t.astype(jnp.float32))
    return distance_fn(prediction, plans, jnp.ones(plans.shape[:1]))
