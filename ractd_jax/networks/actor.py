"""Networks of policies without a planner."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from ractd_jax.networks.blocks import Dense


class ActorMLP(nn.Module):
    """``ActorMLP(A, widths).apply({"params": p}, states [B, O])`` -> [B, A] in [-1, 1].

    Attributes:
      size: A.
      widths: hidden widths, of Dense + LayerNorm + SiLU each.
    """

    size: int
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, observations: jax.Array) -> jax.Array:
        x = observations
        for i, width in enumerate(self.widths):
            x = Dense(width, name=f"dense_{i}")(x)
            x = nn.silu(nn.LayerNorm(name=f"norm_{i}")(x))
        return jnp.tanh(Dense(self.size, name="head")(x))


class LogitsMLP(nn.Module):
    """``LogitsMLP(A, widths).apply({"params": p}, states [B, O])`` -> [B, A].

    A plain MLP with ReLU: with widths of 256 and 256, 30 inputs and 5 outputs it has
    the 75,013 parameters of the clone in Duan (2025), table A.5.

    Attributes:
      size: A.
      widths: hidden widths.
    """

    size: int
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, observations: jax.Array) -> jax.Array:
        x = observations
        for i, width in enumerate(self.widths):
            x = nn.relu(Dense(width, name=f"dense_{i}")(x))
        return Dense(self.size, name="head")(x)
