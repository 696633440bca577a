"""Denoising score matching."""

from __future__ import annotations

import chex
import jax

from ractd_jax.diffusion.noise import EdmNoise
from ractd_jax.diffusion.preconditioning import DenoiseFn, edm_weight, expand
from ractd_jax.losses.distances import DistanceFn


def add_noise(plans: jax.Array, sigma: jax.Array, noise: jax.Array) -> jax.Array:
    """x_sigma = x_0 + sigma eps for plans [B, H, D], sigma [B], noise [B, H, D]."""
    chex.assert_equal_shape([plans, noise])
    return plans + expand(sigma, plans) * noise


def dsm_loss(
    denoise_fn: DenoiseFn,
    plans: jax.Array,
    sigma: jax.Array,
    noise: jax.Array,
    *,
    distance_fn: DistanceFn,
    edm: EdmNoise,
) -> jax.Array:
    """mean lambda(sigma) d(D(x_0 + sigma eps, sigma), x_0).

    Karras et al. 2022, eq. 2.

    Args:
      denoise_fn: D(x [B, H, D], sigma [B]).
      plans: [B, H, D] clean normalised plans x_0.
      sigma: [B] noise levels.
      noise: [B, H, D] standard normal draws.
      distance_fn: from :func:`ractd_jax.losses.distance`.
      edm: for lambda, see :func:`ractd_jax.diffusion.edm_weight`.
    """
    prediction = denoise_fn(add_noise(plans, sigma, noise), sigma)
    return distance_fn(prediction, plans, edm_weight(sigma, edm))
