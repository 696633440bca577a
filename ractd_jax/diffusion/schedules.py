"""Noise levels: the Karras grid and the training distributions over sigma."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def karras_sigma(
    position: jax.typing.ArrayLike,
    num_scales: int,
    sigma_min: float,
    sigma_max: float,
    rho: float,
) -> jax.Array:
    """Noise level at a (fractional) position of the grid; EDM eq. 5.

    ``(smax^(1/rho) + i/(N-1) (smin^(1/rho) - smax^(1/rho)))^rho``; positions past
    N - 1 clamp to `sigma_min`, so that bin N is "time zero".
    """
    fraction = jnp.clip(jnp.asarray(position) / (num_scales - 1), 0.0, 1.0)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return jnp.clip((high + fraction * (low - high)) ** rho, sigma_min, sigma_max)


def karras_sigmas(
    num_scales: int, sigma_min: float, sigma_max: float, rho: float
) -> jax.Array:
    """The [num_scales] grid, from `sigma_max` (index 0) down to `sigma_min`.

    Raises:
      ValueError: fewer than two scales, or not 0 < sigma_min < sigma_max.
    """
    if num_scales < 2:
        raise ValueError(f"num_scales must be at least 2, not {num_scales}")
    if not 0.0 < sigma_min < sigma_max:
        raise ValueError(
            f"need 0 < sigma_min < sigma_max, not {sigma_min} and {sigma_max}"
        )
    return karras_sigma(jnp.arange(num_scales), num_scales, sigma_min, sigma_max, rho)


def sample_log_normal_sigma(
    key: jax.Array, batch: int, mean: float = -1.2, std: float = 1.2
) -> jax.Array:
    """[batch] noise levels with ln sigma ~ Normal(mean, std^2); EDM table 1."""
    return jnp.exp(mean + std * jax.random.normal(key, (batch,)))


def sample_student_sigma(
    key: jax.Array,
    batch: int,
    num_scales: int,
    sigma_min: float,
    sigma_max: float,
    rho: float,
    log_normal: tuple[float, float] = (-1.2, 1.2),
    uniform_fraction: float = 0.7,
) -> jax.Array:
    """[batch] noise levels of the student's DSM loss, as released.

    The first half lies on the grid map of U[0, `uniform_fraction`], which covers
    the noisy end; the rest is log-normal with (mean, std) `log_normal`.
    """
    uniform_key, normal_key = jax.random.split(key)
    half = batch // 2
    position = jax.random.uniform(uniform_key, (half,), maxval=uniform_fraction)
    grid = karras_sigma(
        position * (num_scales - 1), num_scales, sigma_min, sigma_max, rho
    )
    normal = sample_log_normal_sigma(normal_key, batch - half, *log_normal)
    return jnp.concatenate([grid, normal])
