"""The EDM teacher: a continuous-time diffusion over plans (Karras et al. 2022)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ractd_jax import diffusion, losses
from ractd_jax.diffusion import EdmNoise, guidance
from ractd_jax.diffusion.guidance import ConditionedDenoiseFn, Guidance
from ractd_jax.dimensions import Dimensions
from ractd_jax.methods.base import (
    Info,
    PlanBatch,
    PlanMethod,
    Sampler,
    check_temperature,
    edm_noise,
    init_noise_scale,
    of_settings,
    plan_distance,
    with_known,
)
from ractd_jax.settings import Settings


class EdmDraws(NamedTuple):
    """Draws of a step.

    Attributes:
      sigma: [B] noise levels.
      noise: [B, H, D] standard normal.
      dropout: key.
      known: [B, 1] whether the elements are shown; None for plans without any.
    """

    sigma: jax.Array
    noise: jax.Array
    dropout: jax.Array
    known: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class EdmTeacher(PlanMethod):
    """A denoiser D(x, sigma); plans are solutions of its probability-flow ODE.

    Attributes:
      edm: the noise levels.
      init_scale: standard deviation of x_T.
      log_sigma: mean and standard deviation of ln sigma in training.
      distance: the distance between plans.
      elements_dropout: probability of leaving a plan's elements out in training.
    """

    edm: EdmNoise
    init_scale: float
    log_sigma: tuple[float, float]
    distance: losses.DistanceFn
    elements_dropout: float = 0.0

    name = "teacher"
    takes_guidance = True

    @classmethod
    def default_steps(cls, settings: Settings) -> int:
        return settings.evaluation.teacher_steps

    @classmethod
    def from_settings(cls, settings: Settings, dims: Dimensions) -> EdmTeacher:
        noise = settings.diffusion
        return cls(
            **of_settings(settings, dims, "teacher"),
            edm=edm_noise(noise),
            init_scale=init_noise_scale(noise),
            log_sigma=(noise.log_sigma_mean, noise.log_sigma_std),
            distance=plan_distance(settings.teacher.distance, settings.plan, dims),
            elements_dropout=settings.plan.elements_dropout,
        )

    def denoise_fn(self, params: Any, **apply_options: Any) -> ConditionedDenoiseFn:
        """D(x, sigma, condition), with known ends in place."""

        def denoise_fn(x, sigma, condition):
            seen = self.flat(condition)

            def network_fn(scaled, c_noise):
                return self.network.apply(
                    {"params": params}, scaled, c_noise, seen, **apply_options
                )

            return diffusion.denoise(network_fn, x, sigma, self.edm)

        return guidance.inpaint(self.pin_clean)(denoise_fn)

    def draw(self, key: jax.Array, batch_size: int) -> EdmDraws:
        sigma_key, noise_key, dropout_key = jax.random.split(key, 3)
        return EdmDraws(
            diffusion.sample_log_normal_sigma(sigma_key, batch_size, *self.log_sigma),
            jax.random.normal(noise_key, (batch_size, *self.dims.plan_shape)),
            dropout_key,
            self.draw_known(key, batch_size, self.elements_dropout),
        )

    def loss(
        self,
        params: Any,
        target_params: Any,
        frozen: Any,
        batch: PlanBatch,
        draws: EdmDraws,
    ) -> tuple[jax.Array, Info]:
        del target_params, frozen
        options = self.training_options(draws.dropout)
        denoise_fn = self.denoise_fn(params, **options)
        loss = losses.dsm_loss(
            guidance.bind(denoise_fn, with_known(batch.condition, draws.known)),
            batch.plans,
            draws.sigma,
            draws.noise,
            distance_fn=self.distance,
            edm=self.edm,
        )
        return loss, {"loss/dsm": loss}

    def sampler(
        self,
        num_steps: int,
        temperature: float = 1.0,
        transforms: Sequence[Guidance] = (),
    ) -> Sampler:
        """A solver of `num_steps` Heun steps over the Karras grid.

        Args:
          num_steps: S.
          temperature: scale of the noise that a plan starts from.
          transforms: guidance (:mod:`ractd_jax.diffusion.guidance`).

        Raises:
          ValueError: fewer than one step, or a temperature below 0.
        """
        check_temperature(temperature)
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, not {num_steps}")
        scale = temperature * self.init_scale

        def sample(params, condition, noises):
            denoise_fn = self.guided(self.denoise_fn(params), transforms)
            denoise_fn = guidance.bind(denoise_fn, condition)
            sigmas = diffusion.karras_sigmas(num_steps + 1, self.edm)
            x_init = self.pin(scale * noises[0], condition)
            plans = diffusion.sample_heun(
                diffusion.clip_denoised(denoise_fn), x_init, sigmas
            )
            return jnp.clip(plans, -1.0, 1.0)

        return Sampler(lambda params: params, sample, 1, 2 * num_steps)
