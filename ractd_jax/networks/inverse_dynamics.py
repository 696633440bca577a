"""Inverse dynamics a = f(s, s'): the action that leads from one state to another."""

from __future__ import annotations

import dataclasses

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.networks.blocks import Dense
from ractd_jax.networks.reward_model import ResidualDense


@dataclasses.dataclass(frozen=True)
class InverseDynamicsConfig:
    """Shape of an inverse dynamics model.

    Attributes:
      action_dim: A.
      change_scale: [O] usual size of s' - s in normalised units. The input s' - s is
        divided by it, as one step covers a small part of the data's range.
      widths: hidden widths, a residual block for each.
      num_hidden: leading components of s that are no input; their change is one.
    """

    action_dim: int
    change_scale: tuple[float, ...]
    widths: tuple[int, ...] = (128, 128)
    num_hidden: int = 0

    def __post_init__(self):
        if not self.widths:
            raise ValueError("widths must name at least one layer")
        if not all(scale > 0.0 for scale in self.change_scale):
            raise ValueError(f"change_scale must be positive, not {self.change_scale}")


class InverseDynamics(nn.Module):
    """``InverseDynamics(config).apply({"params": p}, s, s')`` -> [B, A]."""

    config: InverseDynamicsConfig

    @nn.compact
    def __call__(
        self, observations: jax.Array, next_observations: jax.Array
    ) -> jax.Array:
        """Predicts the normalised actions between observations.

        Args:
          observations: [B, O] normalised.
          next_observations: [B, O] normalised, one stride later.

        Returns:
          [B, A] normalised actions, not clipped; in [-1, 1] over the data.
        """
        chex.assert_shape(observations, (None, len(self.config.change_scale)))
        chex.assert_equal_shape([observations, next_observations])
        change = next_observations - observations
        change = change / np.asarray(self.config.change_scale, np.float32)
        seen = observations[:, self.config.num_hidden :]
        x = jnp.concatenate([seen, change], axis=-1)
        for i, width in enumerate(self.config.widths):
            x = ResidualDense(width, name=f"block_{i}")(x)
        return Dense(self.config.action_dim, name="head")(x)
