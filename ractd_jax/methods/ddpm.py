"""Discrete-time diffusion over plans (Ho et al. 2020; Janner et al. 2022)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ractd_jax import diffusion, losses
from ractd_jax.diffusion import guidance
from ractd_jax.diffusion.guidance import ConditionedDenoiseFn, Guidance
from ractd_jax.dimensions import Dimensions
from ractd_jax.methods.base import (
    Info,
    PlanBatch,
    PlanMethod,
    Sampler,
    check_temperature,
    of_settings,
    plan_distance,
    with_known,
)
from ractd_jax.settings import Settings


class DdpmDraws(NamedTuple):
    """Draws of a step.

    Attributes:
      times: int32 [B] timesteps.
      noise: [B, H, D] standard normal.
      dropout: key.
      known: [B, 1] whether the elements are shown; None for plans without any.
    """

    times: jax.Array
    noise: jax.Array
    dropout: jax.Array
    known: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class Ddpm(PlanMethod):
    """The teacher's network on T timesteps, predicting the clean plan.

    Attributes:
      num_timesteps: T.
      distance: the distance between plans.
      elements_dropout: probability of leaving a plan's elements out in training.
    """

    num_timesteps: int
    distance: losses.DistanceFn
    elements_dropout: float = 0.0

    name = "ddpm"
    takes_guidance = True

    @classmethod
    def default_steps(cls, settings: Settings) -> int:
        return settings.ddpm.num_timesteps

    @classmethod
    def from_settings(cls, settings: Settings, dims: Dimensions) -> Ddpm:
        return cls(
            **of_settings(settings, dims, "ddpm"),
            num_timesteps=settings.ddpm.num_timesteps,
            distance=plan_distance(settings.ddpm.distance, settings.plan, dims),
            elements_dropout=settings.plan.elements_dropout,
        )

    @property
    def schedule(self) -> diffusion.DdpmSchedule:
        return diffusion.ddpm_schedule(self.num_timesteps)

    def clean_fn(self, params: Any, **apply_options: Any) -> ConditionedDenoiseFn:
        """x_0 from (x, timestep, condition), with known ends in place.

        The network's noise input is the timestep, or 250 ln(noise / signal) with an
        ``edm`` embedding, which is made for noise levels.
        """
        schedule = self.schedule
        levels = 250.0 * (jnp.log(schedule.noise) - jnp.log(schedule.signal))

        edm = self.network.config.noise_embedding == "edm"

        def clean_fn(x, t, condition):
            level = levels[t.astype(jnp.int32)] if edm else t  # t is float32.
            return self.network.apply(
                {"params": params}, x, level, self.flat(condition), **apply_options
            )

        return guidance.inpaint(self.pin_clean)(clean_fn)

    def draw(self, key: jax.Array, batch_size: int) -> DdpmDraws:
        time_key, noise_key, dropout_key = jax.random.split(key, 3)
        return DdpmDraws(
            jax.random.randint(time_key, (batch_size,), 0, self.num_timesteps),
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
        draws: DdpmDraws,
    ) -> tuple[jax.Array, Info]:
        del target_params, frozen
        clean_fn = self.clean_fn(params, **self.training_options(draws.dropout))
        loss = losses.ddpm_loss(
            guidance.bind(clean_fn, with_known(batch.condition, draws.known)),
            batch.plans,
            draws.times,
            draws.noise,
            self.schedule,
            distance_fn=self.distance,
        )
        return loss, {"loss/ddpm": loss}

    def sampler(
        self,
        num_steps: int,
        temperature: float = 1.0,
        transforms: Sequence[Guidance] = (),
    ) -> Sampler:
        """Ancestral sampling with T steps, DDIM with fewer.

        Args:
          num_steps: 1 .. T.
          temperature: scale of every noise drawn.
          transforms: guidance that does not use sigma, such as classifier-free.

        Raises:
          ValueError: an impossible number of steps, or a temperature below 0.
        """
        check_temperature(temperature)
        schedule = self.schedule
        if not 1 <= num_steps <= self.num_timesteps:
            raise ValueError(
                f"num_steps must be in 1..{self.num_timesteps}, not {num_steps}"
            )
        ancestral = num_steps == self.num_timesteps

        def sample(params, condition, noises):
            clean_fn = self.guided(self.clean_fn(params), transforms)
            clean_fn = diffusion.clip_denoised(guidance.bind(clean_fn, condition))
            noises = temperature * noises
            if ancestral:
                return diffusion.sample_ddpm(clean_fn, noises[0], noises[1:], schedule)
            return diffusion.sample_ddim(clean_fn, noises[0], schedule, num_steps)

        num_noises = 1 + num_steps if ancestral else 1
        return Sampler(lambda params: params, sample, num_noises, num_steps)
