"""Noise steering: a small network moves the noise, and the student stays as it is.

z' = z + b tanh(f(z, s)), and the plan is G(z', sigma_max, sigma_min). Every plan is one
that the student makes from some noise of ordinary size, so that the reward chooses
among the student's plans and moves none (after Wagenmaker et al., 2025).
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ractd_jax import losses
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.methods.base import (
    Info,
    PlanBatch,
    PlanMethod,
    Sampler,
    check_one_step,
)
from ractd_jax.methods.ctm import CtmStudent
from ractd_jax.methods.reward import Rating
from ractd_jax.settings import Settings


class NoiseMLP(nn.Module):
    """(noise [B, H, D], condition [B, C]) -> offsets of the noise in [-1, 1]."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, noise: jax.Array, condition: jax.Array) -> jax.Array:
        size = noise.shape[1] * noise.shape[2]
        x = jnp.concatenate([noise.reshape(noise.shape[0], size), condition], axis=-1)
        for width in self.widths:
            x = nn.silu(nn.Dense(width)(x))
        # Zeros: at first the noise stays where it is.
        x = nn.Dense(size, kernel_init=nn.initializers.zeros)(x)
        return jnp.tanh(x).reshape(noise.shape)


class SteeringDraws(NamedTuple):
    """Draws of a step.

    Attributes:
      noise: [B, H, D] standard normal, at the temperatures of the training.
    """

    noise: jax.Array


@dataclasses.dataclass(frozen=True)
class NoiseSteering(PlanMethod):
    """A frozen student whose noise is moved to where plans return more.

    ``L = -mean R(G(sigma_max z', sigma_max, sigma_min)) / unit + w mean |z' - z|^2``.
    Its parameters hold the student's, under ``student``, and the loss leaves them
    alone.

    Attributes:
      student: the student.
      steering: the network that moves the noise.
      reach: b, the furthest that a component of the noise is moved.
      distance_weight: w.
      least_temperature: the noise is scaled by a number drawn from this one to 1.
      reward: what predicts the return of plans; None of a method that only plans.
    """

    student: CtmStudent
    steering: NoiseMLP
    reach: float
    distance_weight: float
    least_temperature: float
    reward: Rating | None = None

    name = "steering"

    @classmethod
    def from_settings(cls, settings: Settings, dims: Dimensions) -> NoiseSteering:
        """Raises ConfigError for plans of states, whose ends are no noise."""
        if dims.ends:
            raise ConfigError(
                "config.plan.kind: expected 'actions' for noise steering, found "
                f"{settings.plan.kind!r}"
            )
        options = settings.steering
        student = CtmStudent.from_settings(settings, dims)
        return cls(
            network=student.network,
            dims=dims,
            student=student,
            steering=NoiseMLP(options.widths),
            reach=options.reach,
            distance_weight=options.distance_weight,
            least_temperature=options.least_temperature,
        )

    def init(self, key: jax.Array) -> Any:
        student_key, key = jax.random.split(key)
        noise = jnp.zeros((1, *self.dims.plan_shape))
        condition = jnp.zeros((1, self.dims.condition))
        return {
            "student": self.student.init(student_key),
            "steering": self.steering.init(key, noise, condition)["params"],
        }

    def move(self, params: Any, noise: jax.Array, condition: Any) -> jax.Array:
        """z' of standard normal noise z, both [B, H, D]."""
        flat = self.flat(condition)
        offset = self.steering.apply({"params": params["steering"]}, noise, flat)
        return noise + self.reach * offset

    def draw(self, key: jax.Array, batch_size: int) -> SteeringDraws:
        noise_key, scale_key = jax.random.split(key)
        noise = jax.random.normal(noise_key, (batch_size, *self.dims.plan_shape))
        scale = jax.random.uniform(
            scale_key, (batch_size, 1, 1), minval=self.least_temperature
        )
        return SteeringDraws(scale * noise)

    def loss(
        self,
        params: Any,
        target_params: Any,
        frozen: Any,
        batch: PlanBatch,
        draws: SteeringDraws,
    ) -> tuple[jax.Array, Info]:
        """See :meth:`Method.loss`; `frozen` has ``reward``, ``reward_unit`` and
        ``pessimism``.
        """
        del target_params
        moved = self.move(params, draws.noise, batch.condition)
        student = jax.lax.stop_gradient(params["student"])
        plans = self._plans(self.student.jump_fn(student), moved, batch.condition)
        rate = self.reward.plan_return_fn(frozen["reward"], frozen["pessimism"])
        reward, _ = losses.reward_loss(rate, batch.condition, plans, batch.plans)
        reward = reward / frozen["reward_unit"]
        distance = jnp.mean(jnp.square(moved - draws.noise))
        loss = reward + self.distance_weight * distance
        return loss, {"loss/reward": reward, "loss/distance": distance}

    def _plans(self, jump_fn, noise: jax.Array, condition: Any) -> jax.Array:
        edm = self.student.edm
        level = jnp.full(noise.shape[0], edm.sigma_max)
        end = jnp.full(noise.shape[0], edm.sigma_min)
        return jump_fn(self.student.init_scale * noise, level, end, condition)

    def sampler(self, num_steps: int = 1, temperature: float = 1.0) -> Sampler:
        """One jump from the moved noise.

        Raises:
          ValueError: more than one step, or a temperature below 0.
        """
        check_one_step(self.name, num_steps, temperature)

        def prepare(params):
            folded = self.student.fold(params["student"], self.student.edm.sigma_max)
            return {"folded": folded, "steering": params["steering"]}

        def sample(weights, condition, noises):
            moved = self.move(weights, temperature * noises[0], condition)
            jump_fn = self.student.folded_jump_fn(weights["folded"])
            return jnp.clip(self._plans(jump_fn, moved, condition), -1.0, 1.0)

        return Sampler(prepare, sample, 1, 1)
