"""A deterministic policy's network."""

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
