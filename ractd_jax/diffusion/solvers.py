"""Solvers of the probability-flow ODE dx/dsigma = (x - D(x, sigma)) / sigma."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from ractd_jax.diffusion.preconditioning import DenoiseFn, broadcast_sigma, expand


def clip_denoised(
    denoise_fn: DenoiseFn, low: float = -1.0, high: float = 1.0
) -> DenoiseFn:
    """`denoise_fn` with its output clipped to the data's range."""
    return lambda x, sigma: jnp.clip(denoise_fn(x, sigma), low, high)


def euler_step(
    denoise_fn: DenoiseFn,
    x: jax.Array,
    sigma: jax.typing.ArrayLike,
    sigma_next: jax.typing.ArrayLike,
) -> jax.Array:
    """One first-order step from `sigma` to `sigma_next`, scalars or [B]."""
    sigma, sigma_next = broadcast_sigma(sigma, x), broadcast_sigma(sigma_next, x)
    slope = (x - denoise_fn(x, sigma)) / expand(sigma, x)
    return x + expand(sigma_next - sigma, x) * slope


def heun_step(
    denoise_fn: DenoiseFn,
    x: jax.Array,
    sigma: jax.typing.ArrayLike,
    sigma_next: jax.typing.ArrayLike,
) -> jax.Array:
    """One second-order step of two evaluations, without churn.

    Karras et al. 2022, algorithm 1. A zero-length step (``sigma_next == sigma``)
    returns `x`. Both levels must be positive, as the slope divides by them: the grids
    here end at sigma_min, where EDM's end at 0 with a last Euler step.

    Args:
      denoise_fn: D(x [B, ...], sigma [B]).
      x: [B, ...] point of the trajectory at `sigma`.
      sigma: scalar or [B] positive noise levels.
      sigma_next: scalar or [B] positive noise levels.
    """
    sigma, sigma_next = broadcast_sigma(sigma, x), broadcast_sigma(sigma_next, x)
    step = expand(sigma_next - sigma, x)
    # 1. The slope dx/dsigma here, and an Euler step along it.
    slope = (x - denoise_fn(x, sigma)) / expand(sigma, x)
    guess = x + step * slope
    # 2. The slope where that step ends. The mean of the two is the trapezoidal rule,
    #    whose error over a path falls with the square of the step's length.
    slope_next = (guess - denoise_fn(guess, sigma_next)) / expand(sigma_next, x)
    return x + step * 0.5 * (slope + slope_next)


def sample_heun(
    denoise_fn: DenoiseFn, x_init: jax.Array, sigmas: jax.Array
) -> jax.Array:
    """Integrates from ``sigmas[0]`` to ``sigmas[-1]`` with Heun steps in a scan.

    Args:
      denoise_fn: D(x [B, ...], sigma [B]).
      x_init: [B, ...] noise at ``sigmas[0]``.
      sigmas: [S + 1] levels; S steps, 2 S network evaluations.
    """
    chex.assert_rank(sigmas, 1)
    return _solve(denoise_fn, x_init, sigmas, heun_step)


def sample_euler(
    denoise_fn: DenoiseFn, x_init: jax.Array, sigmas: jax.Array
) -> jax.Array:
    """As :func:`sample_heun` with Euler steps, S network evaluations."""
    chex.assert_rank(sigmas, 1)
    return _solve(denoise_fn, x_init, sigmas, euler_step)


def _solve(denoise_fn, x_init, sigmas, step_fn):
    # A scan compiles one step, whatever their number.
    def body(x, levels):
        return step_fn(denoise_fn, x, *levels), None

    return jax.lax.scan(body, x_init, (sigmas[:-1], sigmas[1:]))[0]
