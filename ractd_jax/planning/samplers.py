"""Samplers of normalised plans: what a planner runs, as pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax import diffusion, models
from ractd_jax.settings import Settings
from ractd_jax.student import few_step_bins, sample_few_step


class Sampler(NamedTuple):
    """A sampler of normalised plans.

    Attributes:
      prepare: params -> weights; what is the same for every plan, computed once.
      sample: (weights, condition [B, C], noises [N, B, H, A]) -> plans [B, H, A].
      num_noises: N, standard normal draws of a plan's shape that it reads.
      nfe: network evaluations of a plan.
    """

    prepare: Callable[[Any], Any]
    sample: Callable[[Any, jax.Array, jax.Array], jax.Array]
    num_noises: int
    nfe: int


def make_sampler(
    network,
    settings: Settings,
    dims: models.Dimensions,
    role: str,
    num_steps: int,
    temperature: float = 1.0,
) -> Sampler:
    """The sampler of a role.

    Args:
      network: the network.
      settings: of the training.
      dims: of the plans.
      role: ``teacher`` (Heun steps over the Karras grid), ``ddpm`` (ancestral steps
        when there are T of them, else DDIM's), ``student`` (jumps) or ``bc`` (the
        mean plan, in one step without noise).
      num_steps: Heun steps, DDPM or DDIM steps, or jumps.
      temperature: scale of every noise drawn. The network is told of the same levels,
        so that less noise means plans nearer to the middle of what it has learned.

    Raises:
      ValueError: an impossible number of steps, or a temperature below 0.
    """
    if not temperature >= 0.0:
        raise ValueError(f"temperature must be at least 0, not {temperature}")
    edm = models.edm_noise(settings.diffusion)
    scale = temperature * models.init_noise_scale(settings.diffusion)
    if role == "bc":
        if num_steps != 1:
            raise ValueError(f"num_steps must be 1 for bc, not {num_steps}")

        def mean_plan(params, condition, noises):
            del noises
            plans = models.make_regression_fn(network, params, dims)(condition)
            return jnp.clip(plans, -1.0, 1.0)

        return Sampler(lambda params: params, mean_plan, 1, 1)

    if role == "teacher":
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, not {num_steps}")

        def teacher(params, condition, noises):
            denoise_fn = models.make_denoise_fn(network, params, condition, edm)
            sigmas = diffusion.karras_sigmas(num_steps + 1, edm)
            x_init = models.pin(network, scale * noises[0], condition)
            plans = diffusion.sample_heun(
                diffusion.clip_denoised(denoise_fn), x_init, sigmas
            )
            return jnp.clip(plans, -1.0, 1.0)

        return Sampler(lambda params: params, teacher, 1, 2 * num_steps)

    if role == "ddpm":
        schedule = diffusion.ddpm_schedule(settings.ddpm.num_timesteps)
        ancestral = num_steps == schedule.num_timesteps
        if not 1 <= num_steps <= schedule.num_timesteps:
            raise ValueError(
                f"num_steps must be in 1..{schedule.num_timesteps}, not {num_steps}"
            )

        def ddpm(params, condition, noises):
            clean_fn = diffusion.clip_denoised(
                models.make_ddpm_clean_fn(network, params, condition, schedule)
            )
            noises = temperature * noises
            if ancestral:
                return diffusion.sample_ddpm(clean_fn, noises[0], noises[1:], schedule)
            return diffusion.sample_ddim(clean_fn, noises[0], schedule, num_steps)

        num_noises = 1 + num_steps if ancestral else 1
        return Sampler(lambda params: params, ddpm, num_noises, num_steps)

    num_scales = settings.diffusion.num_scales
    bins = np.array(few_step_bins(num_steps, num_scales), int)
    grid = np.asarray(diffusion.bin_sigmas(num_scales, edm))
    levels = [float(sigma) for sigma in grid[bins]]

    def prepare(params):
        return {
            sigma: models.fold_jump(network, params, sigma, edm)
            for sigma in (edm.sigma_max, *levels)
        }

    def student(weights, condition, noises):
        def jump_fn(x, sigma, sigma_stop):
            folded = models.make_folded_jump_fn(network, weights[sigma], edm)
            x = models.pin(network, x, condition)
            return jnp.clip(folded(x, sigma, sigma_stop, condition), -1.0, 1.0)

        x_init, more = scale * noises[0], temperature * noises[1:]
        return sample_few_step(jump_fn, x_init, more, levels, edm)

    return Sampler(prepare, student, num_steps, num_steps)
