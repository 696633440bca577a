"""Boundary-form EDM preconditioning, D(x, sigma_min) = x."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

NetworkFn = Callable[..., jax.Array]
DenoiseFn = Callable[[jax.Array, jax.Array], jax.Array]


class Preconditioning(NamedTuple):
    """Factors around the network, each with the shape of sigma."""

    c_skip: jax.Array
    c_out: jax.Array
    c_in: jax.Array
    c_noise: jax.Array


def boundary_preconditioning(
    sigma: jax.Array, *, sigma_min: float, sigma_data: float
) -> Preconditioning:
    """EDM's factors shifted so that c_skip = 1 and c_out = 0 at `sigma_min`.

    c_skip = sd^2 / ((sigma - smin)^2 + sd^2), c_out = (sigma - smin) sd /
    sqrt(sigma^2 + sd^2), c_in = 1 / sqrt(sigma^2 + sd^2), c_noise = 250 ln sigma
    (consistency models, appendix C; the released code).
    """
    shifted = sigma - sigma_min
    inverse_norm = jax.lax.rsqrt(jnp.square(sigma) + sigma_data**2)
    return Preconditioning(
        c_skip=sigma_data**2 / (jnp.square(shifted) + sigma_data**2),
        c_out=shifted * sigma_data * inverse_norm,
        c_in=inverse_norm,
        c_noise=250.0 * jnp.log(sigma),
    )


def broadcast_sigma(sigma: jax.typing.ArrayLike, x: jax.Array) -> jax.Array:
    """A scalar or [B] sigma as float32 [B]."""
    return jnp.broadcast_to(jnp.asarray(sigma, jnp.float32), x.shape[:1])


def expand(factor: jax.Array, x: jax.Array) -> jax.Array:
    """[B] -> [B, 1, ...] with the rank of `x`."""
    return factor.reshape(factor.shape + (1,) * (x.ndim - 1))


def denoise(
    network_fn: NetworkFn,
    x: jax.Array,
    sigma: jax.typing.ArrayLike,
    *,
    sigma_min: float,
    sigma_data: float,
) -> jax.Array:
    """D(x, sigma) = c_skip x + c_out F(c_in x, c_noise); EDM eq. 7.

    Args:
      network_fn: F(scaled x [B, ...], c_noise [B]).
      x: [B, ...] noisy plans.
      sigma: scalar or [B] noise levels.
      sigma_min: the level at which D is the identity.
      sigma_data: standard deviation of the data.

    Returns:
      Denoised plans, shaped as `x`.
    """
    sigma = broadcast_sigma(sigma, x)
    factors = boundary_preconditioning(
        sigma, sigma_min=sigma_min, sigma_data=sigma_data
    )
    raw = network_fn(expand(factors.c_in, x) * x, factors.c_noise)
    return expand(factors.c_skip, x) * x + expand(factors.c_out, x) * raw


def edm_weight(sigma: jax.Array, sigma_data: float) -> jax.Array:
    """lambda(sigma) = (sigma^2 + sd^2) / (sigma sd)^2; EDM table 1."""
    return (jnp.square(sigma) + sigma_data**2) / jnp.square(sigma * sigma_data)
