"""The consistency trajectory model: jumps along the teacher's ODE paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from ractd_jax.diffusion.noise import EdmNoise, noise_input
from ractd_jax.diffusion.preconditioning import (
    NetworkFn,
    boundary_preconditioning,
    broadcast_sigma,
    expand,
)

# G(x [B, ...], sigma, sigma_stop), the levels scalars or [B].
JumpFn = Callable[[jax.Array, jax.typing.ArrayLike, jax.typing.ArrayLike], jax.Array]


def clean_estimate(
    network_fn: NetworkFn,
    x: jax.Array,
    sigma: jax.typing.ArrayLike,
    sigma_stop: jax.typing.ArrayLike,
    edm: EdmNoise,
) -> jax.Array:
    """g(x, t, s) = c_skip(t) x + c_out(t) F(c_in(t) x, 250 ln t, 250 ln s).

    Kim et al. 2024, eq. 9, with the boundary factors of
    :func:`ractd_jax.diffusion.boundary_preconditioning`.
    On the diagonal, g(x, t, t) is the denoiser D(x, t). Arguments as :func:`jump`.
    """
    sigma, sigma_stop = broadcast_sigma(sigma, x), broadcast_sigma(sigma_stop, x)
    factors = boundary_preconditioning(sigma, edm)
    raw = network_fn(
        expand(factors.c_in, x) * x, factors.c_noise, noise_input(sigma_stop)
    )
    return expand(factors.c_skip, x) * x + expand(factors.c_out, x) * raw


def move_towards(
    x: jax.Array,
    clean: jax.Array,
    sigma: jax.typing.ArrayLike,
    sigma_stop: jax.typing.ArrayLike,
) -> jax.Array:
    """(s/t) x + (1 - s/t) clean: from level t to s, given the clean estimate."""
    sigma, sigma_stop = broadcast_sigma(sigma, x), broadcast_sigma(sigma_stop, x)
    ratio = expand(sigma_stop / sigma, x)
    return ratio * x + (1.0 - ratio) * clean


def jump(
    network_fn: NetworkFn,
    x: jax.Array,
    sigma: jax.typing.ArrayLike,
    sigma_stop: jax.typing.ArrayLike,
    edm: EdmNoise,
) -> jax.Array:
    """G(x, t, s) = (s/t) x + (1 - s/t) g(x, t, s), so that G(x, t, t) = x.

    Kim et al. 2024, eq. 9.

    Args:
      network_fn: F(scaled x [B, ...], c_noise [B], c_noise_stop [B]).
      x: [B, ...] points at `sigma`.
      sigma: scalar or [B] level t to jump from.
      sigma_stop: scalar or [B] level s <= t to jump to.
      edm: see :func:`ractd_jax.diffusion.boundary_preconditioning`.

    Returns:
      Points at `sigma_stop`, shaped as `x`.
    """
    clean = clean_estimate(network_fn, x, sigma, sigma_stop, edm)
    return move_towards(x, clean, sigma, sigma_stop)


def sample_one_step(jump_fn: JumpFn, x_init: jax.Array, edm: EdmNoise) -> jax.Array:
    """G(x_T, sigma_max, sigma_min): one network evaluation."""
    return jump_fn(x_init, edm.sigma_max, edm.sigma_min)


def sample_few_step(
    jump_fn: JumpFn,
    x_init: jax.Array,
    noises: jax.Array,
    sigmas: Sequence[float],
    edm: EdmNoise,
) -> jax.Array:
    """One jump, then for each level of `sigmas` noise added back and a jump.

    Multi-step consistency sampling (Duan 2025, 3.5.3): the plan at `sigma_min` gets
    noise of variance sigma^2 - sigma_min^2, so that its level is sigma.

    Args:
      jump_fn: G(x, sigma, sigma_stop), called with the levels as given here.
      x_init: [B, ...] noise at `sigma_max`.
      noises: [S, B, ...] standard normal draws.
      sigmas: S decreasing levels between `sigma_max` and `sigma_min`; S may be 0.
      edm: has sigma_max and sigma_min.
    """
    plan = sample_one_step(jump_fn, x_init, edm)
    for sigma, noise in zip(sigmas, noises, strict=True):
        noisy = plan + jnp.sqrt(sigma**2 - edm.sigma_min**2) * noise
        plan = jump_fn(noisy, sigma, edm.sigma_min)
    return plan


def few_step_bins(num_steps: int, num_scales: int) -> tuple[int, ...]:
    """Grid bins of the levels that a `num_steps` sampler returns to.

    Evenly spaced: 3 steps over 80 scales use bins 27 and 54, as in Duan (2025).

    Raises:
      ValueError: `num_steps` is not in 1 .. num_scales.
    """
    if not 1 <= num_steps <= num_scales:
        raise ValueError(f"num_steps must be in 1..{num_scales}, not {num_steps}")
    spacing = -(-num_scales // num_steps)
    return tuple(min(spacing * i, num_scales - 1) for i in range(1, num_steps))
