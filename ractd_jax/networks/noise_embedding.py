"""Embeddings of the noise level."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from ractd_jax.networks.blocks import Compute, Dense, mish

# ln(sigma) / 4 spans about [-1, 1.1]: a third of a period of the slowest wave to eight
# of the fastest, which tells the levels of a grid of 80 apart.
_EDM_FREQUENCIES = (1.0, 24.0)


def sinusoidal_embedding(position: jax.Array, dim: int) -> jax.Array:
    """[B] -> [B, dim]: [sin | cos] of frequencies exp(-ln(1e4) j / (dim/2 - 1))."""
    half = dim // 2
    frequencies = jnp.exp(-math.log(1e4) / (half - 1) * jnp.arange(half))
    return _waves(position, frequencies)


def _waves(position, frequencies):
    angles = position.astype(jnp.float32)[:, None] * frequencies[None, :]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class NoiseEmbedding(nn.Module):
    """Waves of the noise input -> Dense(4 dim) -> Mish -> Dense(dim).

    Attributes:
      dim: size of the embedding, even.
      compute: how to compute.
      kind: ``released`` has sinusoids of 250 ln sigma, as Ho et al. (2020) have of
        timesteps. ``edm`` has waves of ln(sigma) / 4 (Karras et al., 2022, table 1),
        which are smooth in the level.
    """

    dim: int
    compute: Compute = Compute()
    kind: str = "released"

    @nn.compact
    def __call__(self, c_noise: jax.Array) -> jax.Array:
        """[B] noise inputs, 250 ln sigma, to [B, dim]."""
        if self.kind == "edm":
            low, high = map(math.log, _EDM_FREQUENCIES)
            frequencies = jnp.exp(jnp.linspace(low, high, self.dim // 2))
            x = _waves(c_noise / 1_000.0, frequencies)
        else:
            x = sinusoidal_embedding(c_noise, self.dim)
        x = mish(Dense(4 * self.dim, self.compute, name="dense_in")(x))
        return Dense(self.dim, self.compute, name="dense_out")(x)
