"""Boundary-form EDM preconditioning, D(x, sigma_min) = x."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ractd_jax.diffusion.noise import EdmNoise, noise_input

NetworkFn = Callable[..., jax.Array]
DenoiseFn = Callable[[jax.Array, jax.Array], jax.Array]


class Preconditioning(NamedTuple):
    """Factors around the network, each with the shape of sigma."""

    c_skip: jax.Array
    c_out: jax.Array
    c_in: jax.Array
    c_noise: jax.Array


def boundary_preconditioning(sigma: jax.Array, edm: EdmNoise) -> Preconditioning:
    """EDM's factors shifted so that c_skip = 1 and c_out = 0 at `sigma_min`.

    c_skip = sd^2 / ((sigma - smin)^2 + sd^2), c_out = (sigma - smin) sd /
    sqrt(sigma^2 + sd^2), c_in = 1 / sqrt(sigma^2 + sd^2), c_noise = 250 ln sigma
    (Song et al. 2023, appendix C; Duan et al.'s code).

    EDM's factors suit data without correlation. In a smooth path the neighbours of a
    step say more about it than its own noisy value does. With a `floor` the network
    therefore gives the clean plan at every level (c_skip = 0, c_out = sd), and its
    noise input stops at the floor, c_noise = 250 ln max(sigma, floor): training seldom
    visits lower levels, and a plan with less noise than the input says is still
    cleaned well. D is then the identity at no level.

    Args:
      sigma: noise levels.
      edm: its `sigma_min` is the level at which D is the identity.
    """
    shifted, sigma_data = sigma - edm.sigma_min, edm.sigma_data
    c_in = jax.lax.rsqrt(jnp.square(sigma) + sigma_data**2)
    if edm.floor is not None:
        return Preconditioning(
            c_skip=jnp.zeros_like(sigma),
            c_out=jnp.full_like(sigma, sigma_data),
            c_in=c_in,
            c_noise=noise_input(jnp.maximum(sigma, edm.floor)),
        )
    return Preconditioning(
        c_skip=sigma_data**2 / (jnp.square(shifted) + sigma_data**2),
        c_out=shifted * sigma_data * c_in,
        c_in=c_in,
        c_noise=noise_input(sigma),
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
    edm: EdmNoise,
) -> jax.Array:
    """D(x, sigma) = c_skip x + c_out F(c_in x, c_noise).

    Karras et al. 2022, eq. 7.

    Args:
      network_fn: F(scaled x [B, ...], c_noise [B]).
      x: [B, ...] noisy plans.
      sigma: scalar or [B] noise levels.
      edm: see :func:`boundary_preconditioning`.

    Returns:
      Denoised plans, shaped as `x`.
    """
    sigma = broadcast_sigma(sigma, x)
    factors = boundary_preconditioning(sigma, edm)
    raw = network_fn(expand(factors.c_in, x) * x, factors.c_noise)
    return expand(factors.c_skip, x) * x + expand(factors.c_out, x) * raw


def edm_weight(sigma: jax.Array, edm: EdmNoise) -> jax.Array:
    """lambda(sigma) = (sigma^2 + sd^2) / (sigma sd)^2, 1 / c_out^2.

    Karras et al. 2022, table 1. With a `floor` it is 1 / sd^2, see
    :func:`boundary_preconditioning`.
    """
    sigma_data = edm.sigma_data
    if edm.floor is not None:
        return jnp.full_like(sigma, 1.0 / sigma_data**2)
    return (jnp.square(sigma) + sigma_data**2) / jnp.square(sigma * sigma_data)
