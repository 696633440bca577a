"""Inverse dynamics a = f(s, s'), which turn plans of states into actions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from ractd_jax.methods.base import Info
from ractd_jax.networks import InverseDynamics, InverseDynamicsConfig
from ractd_jax.normalizers import Normalizer


class PairBatch(NamedTuple):
    """Observations [B, O] one stride apart, and the first one's actions [B, A]."""

    observations: jax.Array
    next_observations: jax.Array
    actions: jax.Array


@dataclasses.dataclass(frozen=True)
class InverseDynamicsMethod:
    """Regression of the normalised actions.

    Attributes:
      network: f.
    """

    network: InverseDynamics

    name = "inverse_dynamics"

    @classmethod
    def from_metadata(cls, metadata: Mapping) -> InverseDynamicsMethod:
        """The method that a checkpoint's metadata describes."""
        config = InverseDynamicsConfig(
            action_dim=metadata["dimensions"]["action"],
            change_scale=tuple(metadata["change_scale"]),
            widths=tuple(metadata["settings"]["inverse_dynamics"]["widths"]),
            num_hidden=metadata.get("num_hidden", 0),
        )
        return cls(InverseDynamics(config))

    def init(self, key: jax.Array) -> Any:
        observations = jnp.zeros((1, len(self.network.config.change_scale)))
        return self.network.init(key, observations, observations)["params"]

    def draw(self, key: jax.Array, batch_size: int) -> tuple:
        return ()

    def loss(
        self,
        params: Any,
        target_params: Any,
        frozen: Any,
        batch: PairBatch,
        draws: tuple,
    ) -> tuple[jax.Array, Info]:
        del target_params, frozen, draws
        predictions = self.network.apply(
            {"params": params}, batch.observations, batch.next_observations
        )
        loss = jnp.mean(jnp.square(predictions - batch.actions))
        return loss, {"loss/mse": loss}

    def action_fn(
        self,
        params: Any,
        observation_normalizer: Normalizer,
        action_normalizer: Normalizer,
    ) -> Callable[[jax.Array, jax.Array], jax.Array]:
        """f(s [B, O], s' [B, O]) -> a [B, A] in environment units, in the data's range.

        It raises an AssertionError for observations of another shape.
        """
        size = len(self.network.config.change_scale)

        def action_fn(observations, next_observations):
            # Before the normaliser could broadcast them.
            chex.assert_shape(observations, (None, size))
            chex.assert_equal_shape([observations, next_observations])
            normalized = self.network.apply(
                {"params": params},
                observation_normalizer.normalize(observations),
                observation_normalizer.normalize(next_observations),
            )
            actions = action_normalizer.unnormalize(normalized)
            return jnp.clip(actions, action_normalizer.low, action_normalizer.high)

        return action_fn
