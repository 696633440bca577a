"""Behaviour cloning: the baseline that a planner has to beat."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ractd_jax import losses
from ractd_jax.diffusion.guidance import Condition
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.methods.base import (
    Info,
    PlanBatch,
    PlanMethod,
    Sampler,
    check_one_step,
    of_settings,
    plan_distance,
)
from ractd_jax.settings import Settings


class BehaviourCloningDraws(NamedTuple):
    """Draws of a step: the key for dropout."""

    dropout: jax.Array


@dataclasses.dataclass(frozen=True)
class BehaviourCloning(PlanMethod):
    """The teacher's network, which sees no noise, regressed on the data's plans.

    The error is squared, so that the network learns their mean. With
    ``dataset.weighting = "top"`` this is percentile behaviour cloning (Chen et al.
    2021).

    Attributes:
      distance: the distance between plans.
    """

    distance: losses.DistanceFn

    name = "bc"
    is_random = False

    @classmethod
    def from_settings(cls, settings: Settings, dims: Dimensions) -> BehaviourCloning:
        """Raises ConfigError for plans of states: a mean of paths is no path."""
        if dims.ends:
            raise ConfigError(
                "config.plan.kind: expected 'actions' for behaviour cloning, found "
                f"{settings.plan.kind!r}"
            )
        distance = plan_distance("squared", settings.plan, dims)
        return cls(**of_settings(settings, dims, "bc"), distance=distance)

    def regression_fn(
        self, params: Any, **apply_options: Any
    ) -> Callable[[Condition], jax.Array]:
        """condition -> plans [B, H, D]."""

        def regression_fn(condition):
            seen = self.flat(condition)
            # Not len(): in an exported program the number of rows is a symbol.
            blank = jnp.zeros((seen.shape[0], *self.dims.plan_shape))
            level = jnp.zeros(seen.shape[0])
            return self.network.apply(
                {"params": params}, blank, level, seen, **apply_options
            )

        return regression_fn

    def draw(self, key: jax.Array, batch_size: int) -> BehaviourCloningDraws:
        return BehaviourCloningDraws(key)

    def loss(
        self,
        params: Any,
        target_params: Any,
        frozen: Any,
        batch: PlanBatch,
        draws: BehaviourCloningDraws,
    ) -> tuple[jax.Array, Info]:
        del target_params, frozen
        predict = self.regression_fn(params, **self.training_options(draws.dropout))
        ones = jnp.ones(len(batch.plans))
        loss = self.distance(predict(batch.condition), batch.plans, ones)
        return loss, {"loss/mse": loss}

    def sampler(self, num_steps: int, temperature: float = 1.0) -> Sampler:
        """The mean plan, in one step without noise.

        Raises:
          ValueError: more than one step, or a temperature below 0.
        """
        check_one_step(self.name, num_steps, temperature)

        def sample(params, condition, noises):
            del noises
            return jnp.clip(self.regression_fn(params)(condition), -1.0, 1.0)

        return Sampler(lambda params: params, sample, 1, 1)
