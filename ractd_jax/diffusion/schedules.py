"""Noise levels: the Karras grid and the training distributions over sigma."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ractd_jax.diffusion.noise import EdmNoise


def karras_sigma(
    position: jax.typing.ArrayLike, num_scales: int, edm: EdmNoise
) -> jax.Array:
    """Noise level at a (fractional) position of the grid.

    Karras et al. 2022, eq. 5.

    ``(smax^(1/rho) + i/(N-1) (smin^(1/rho) - smax^(1/rho)))^rho``; positions past
    N - 1 clamp to `sigma_min`, so that bin N is "time zero".
    """
    fraction = jnp.clip(jnp.asarray(position) / (num_scales - 1), 0.0, 1.0)
    high, low = edm.sigma_max ** (1 / edm.rho), edm.sigma_min ** (1 / edm.rho)
    sigma = (high + fraction * (low - high)) ** edm.rho
    return jnp.clip(sigma, edm.sigma_min, edm.sigma_max)


def karras_sigmas(num_scales: int, edm: EdmNoise) -> jax.Array:
    """The [num_scales] grid, from `sigma_max` (index 0) down to `sigma_min`.

    Raises:
      ValueError: fewer than two scales, or not 0 < sigma_min < sigma_max.
    """
    if num_scales < 2:
        raise ValueError(f"num_scales must be at least 2, not {num_scales}")
    if not 0.0 < edm.sigma_min < edm.sigma_max:
        raise ValueError(
            f"need 0 < sigma_min < sigma_max, not {edm.sigma_min} and {edm.sigma_max}"
        )
    return karras_sigma(jnp.arange(num_scales), num_scales, edm)


def bin_sigmas(num_scales: int, edm: EdmNoise) -> jax.Array:
    """[num_scales + 1] levels of bins 0..N; bin N clamps to `sigma_min`."""
    return karras_sigma(jnp.arange(num_scales + 1), num_scales, edm)


def sample_log_normal_sigma(
    key: jax.Array, batch: int, mean: float = -1.2, std: float = 1.2
) -> jax.Array:
    """[batch] noise levels with ln sigma ~ Normal(mean, std^2).

    Karras et al. 2022, table 1.
    """
    return jnp.exp(mean + std * jax.random.normal(key, (batch,)))


def sample_student_sigma(
    key: jax.Array,
    batch: int,
    num_scales: int,
    edm: EdmNoise,
    log_normal: tuple[float, float] = (-1.2, 1.2),
    uniform_fraction: float = 0.7,
) -> jax.Array:
    """[batch] noise levels of the student's DSM loss, as in Duan et al.'s code.

    The first half lies on the grid map of U[0, `uniform_fraction`], which covers
    the noisy end; the rest is log-normal with (mean, std) `log_normal`.
    """
    uniform_key, normal_key = jax.random.split(key)
    half = batch // 2
    position = jax.random.uniform(uniform_key, (half,), maxval=uniform_fraction)
    grid = karras_sigma(position * (num_scales - 1), num_scales, edm)
    normal = sample_log_normal_sigma(normal_key, batch - half, *log_normal)
    return jnp.concatenate([grid, normal])
