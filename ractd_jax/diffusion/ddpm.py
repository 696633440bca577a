"""Discrete-time diffusion (DDPM) with the cosine schedule, and the DDIM sampler.

Timesteps are 0 .. T-1, of which T-1 is the noisiest. The network predicts x_0, as in
Janner et al. (2022) on maze2d: ``clean_fn(x [B, ...], t [B])``, with float timesteps,
gives x_0 shaped as `x`. :func:`ractd_jax.diffusion.clip_denoised` clips its output too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.diffusion.preconditioning import expand

DdpmCleanFn = Callable[[jax.Array, jax.Array], jax.Array]

_COSINE_OFFSET = 0.008
_MAX_BETA = 0.999


class DdpmSchedule(NamedTuple):
    """Factors of each timestep, float32 [T] each.

    x_t = signal x_0 + noise eps, and the posterior q(x_{t-1} | x_t, x_0) is
    Normal(posterior_clean x_0 + posterior_noisy x_t, posterior_std^2), with which
    step 0 returns x_0 (1, 0, 0).

    Attributes:
      alphas_cumprod: prod_{i <= t} (1 - beta_i), the share of the data's variance.
      signal: sqrt(alphas_cumprod).
      noise: sqrt(1 - alphas_cumprod).
      posterior_clean: factor of x_0 in the posterior's mean.
      posterior_noisy: factor of x_t in it.
      posterior_std: standard deviation of the posterior.
    """

    alphas_cumprod: jax.Array
    signal: jax.Array
    noise: jax.Array
    posterior_clean: jax.Array
    posterior_noisy: jax.Array
    posterior_std: jax.Array

    @property
    def num_timesteps(self) -> int:
        return len(self.alphas_cumprod)


def ddpm_schedule(num_timesteps: int) -> DdpmSchedule:
    """The cosine schedule of T timesteps.

    beta_t = min(1 - f((t + 1) / T) / f(t / T), 0.999) with f(r) =
    cos^2(pi/2 (r + 0.008) / 1.008); Nichol and Dhariwal 2021, eq. 17. The posterior
    is Ho et al. 2020, eq. 7.

    Raises:
      ValueError: fewer than one timestep.
    """
    if num_timesteps < 1:
        raise ValueError(f"num_timesteps must be at least 1, not {num_timesteps}")
    ratio = np.arange(num_timesteps + 1) / num_timesteps
    angle = (ratio + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * np.pi / 2
    level = np.cos(angle) ** 2
    betas = np.minimum(1 - level[1:] / level[:-1], _MAX_BETA)
    alphas = 1 - betas
    cumulative = np.cumprod(alphas)
    previous = np.append(1.0, cumulative[:-1])
    # In double precision until here.
    factors = {
        "alphas_cumprod": cumulative,
        "signal": np.sqrt(cumulative),
        "noise": np.sqrt(1 - cumulative),
        "posterior_clean": np.sqrt(previous) * betas / (1 - cumulative),
        "posterior_noisy": np.sqrt(alphas) * (1 - previous) / (1 - cumulative),
        "posterior_std": np.sqrt(betas * (1 - previous) / (1 - cumulative)),
    }
    return DdpmSchedule(
        **{name: jnp.asarray(value, jnp.float32) for name, value in factors.items()}
    )


def add_ddpm_noise(
    schedule: DdpmSchedule, x0: jax.Array, t: jax.Array, noise: jax.Array
) -> jax.Array:
    """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps; Ho et al. 2020, eq. 4.

    Args:
      schedule: factors of each timestep.
      x0: [B, ...] clean plans.
      t: int32 [B] timesteps.
      noise: [B, ...] standard normal draws.
    """
    chex.assert_equal_shape([x0, noise])
    chex.assert_shape(t, x0.shape[:1])
    return expand(schedule.signal[t], x0) * x0 + expand(schedule.noise[t], x0) * noise


def sample_ddpm(
    clean_fn: DdpmCleanFn, x_init: jax.Array, noises: jax.Array, schedule: DdpmSchedule
) -> jax.Array:
    """Ancestral sampling, x_{t-1} ~ q(x_{t-1} | x_t, x_0 = clean_fn(x_t, t)).

    Ho et al. 2020, algorithm 2, with the posterior's variance (beta tilde), as
    in Janner et al. (2022). It takes T network evaluations; the last one is the plan.

    Args:
      clean_fn: x_0 from (x [B, ...], t [B]).
      x_init: [B, ...] standard normal x_T.
      noises: [T, B, ...] standard normal draws, in the order of the steps; the last
        step adds none of its own.
      schedule: factors of each timestep.
    """
    steps = schedule.num_timesteps
    chex.assert_shape(noises, (steps, *x_init.shape))

    def body(x, inputs):
        t, noise, factors = inputs
        clean = clean_fn(x, _timesteps(t, x))
        mean = factors.posterior_clean * clean + factors.posterior_noisy * x
        return mean + factors.posterior_std * noise, None

    times = jnp.arange(steps)[::-1]
    factors = jax.tree.map(lambda factor: factor[::-1], schedule)
    return jax.lax.scan(body, x_init, (times, noises, factors))[0]


def sample_ddim(
    clean_fn: DdpmCleanFn, x_init: jax.Array, schedule: DdpmSchedule, num_steps: int
) -> jax.Array:
    """Deterministic sampling in `num_steps` steps; Song et al. 2021, eq. 12, eta 0.

    x_s = sqrt(abar_s) x_0 + sqrt(1 - abar_s) eps with the x_0 and the eps that
    `clean_fn` finds in x_t. The timesteps lie evenly from T-1 to -1, which stands for
    x_0 itself, so the first evaluation is at T-1 and one step is the clean estimate.

    Args:
      clean_fn: x_0 from (x [B, ...], t [B]).
      x_init: [B, ...] standard normal x_T.
      schedule: factors of each timestep.
      num_steps: network evaluations, 1 .. T.

    Raises:
      ValueError: an impossible number of steps.
    """
    steps = schedule.num_timesteps
    if not 1 <= num_steps <= steps:
        raise ValueError(f"num_steps must be in 1..{steps}, not {num_steps}")
    times = np.round(np.linspace(steps - 1, -1, num_steps + 1)).astype(np.int32)[:-1]
    signal, noise = schedule.signal[times], schedule.noise[times]
    signal_next = jnp.append(signal[1:], 1.0)
    noise_next = jnp.append(noise[1:], 0.0)

    def body(x, inputs):
        t, signal, noise, signal_next, noise_next = inputs
        clean = clean_fn(x, _timesteps(t, x))
        eps = (x - signal * clean) / noise
        return signal_next * clean + noise_next * eps, None

    inputs = (times, signal, noise, signal_next, noise_next)
    return jax.lax.scan(body, x_init, inputs)[0]


def _timesteps(t: jax.Array, x: jax.Array) -> jax.Array:
    """A scalar timestep as float32 [B]."""
    return jnp.full(x.shape[:1], t, jnp.float32)
