"""The reward model R(s, a): the normalised return-to-go of a clean pair."""

from __future__ import annotations

import dataclasses

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from ractd_jax.networks.blocks import Compute, ConvBlock, Dense, fourier_features, mish


@dataclasses.dataclass(frozen=True)
class RewardModelConfig:
    """Shape of a reward model.

    Attributes:
      kind: ``residual_mlp`` (Duan et al.'s code), ``conv`` (the text of Duan et
        al., 2025: Conv1d + GroupNorm + Mish blocks over a time axis of length one) or
        ``layer_norm`` (Dense + LayerNorm + SiLU, for critics).
      widths: hidden widths; the residual MLP has two blocks for each.
      fourier_octaves: octaves of Fourier features of the inputs; 0 for none.
      relative_goals: the second input is a goal for the first components of an
        observation; how far it is from them is an input too, and the others, such as
        velocities, get no waves.
    """

    kind: str = "residual_mlp"
    widths: tuple[int, ...] = (64, 128, 256)
    fourier_octaves: int = 0
    relative_goals: bool = False

    def __post_init__(self):
        kinds = ("residual_mlp", "conv", "layer_norm")
        if self.kind not in kinds:
            raise ValueError(f"kind must be one of {kinds}, not {self.kind!r}")
        if not self.widths:
            raise ValueError("widths must name at least one layer")
        # One channel to a group of 8 would normalise to zero on a lone pair.
        if self.kind == "conv" and any(width % 16 for width in self.widths):
            raise ValueError(f"conv widths must be multiples of 16, not {self.widths}")


class ResidualDense(nn.Module):
    """y = Dense(mish(Dense(x))) + skip, the skip linear when widths differ."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        hidden = Dense(self.features, name="dense_in")(x)
        hidden = Dense(self.features, name="dense_out")(mish(hidden))
        if x.shape[-1] != self.features:
            x = Dense(self.features, name="skip")(x)
        return hidden + x


class RewardModel(nn.Module):
    """``RewardModel(config).apply({"params": p}, observations, actions)`` -> [B]."""

    config: RewardModelConfig

    @nn.compact
    def __call__(self, observations: jax.Array, actions: jax.Array) -> jax.Array:
        """Predicts normalised returns-to-go.

        Args:
          observations: [B, O] normalised.
          actions: [B, A] normalised.

        Returns:
          [B] predictions, in [-1, 1] over the data.
        """
        chex.assert_rank([observations, actions], 2)
        x = jnp.concatenate([actions, observations], axis=-1)
        octaves = self.config.fourier_octaves
        if self.config.relative_goals:
            positions, rest = jnp.split(observations, [actions.shape[1]], axis=1)
            places = jnp.concatenate([actions - positions, actions, positions], axis=-1)
            x = jnp.concatenate([fourier_features(places, octaves), rest], axis=-1)
        elif octaves:
            x = fourier_features(x, octaves)
        if self.config.kind == "conv":
            x = x[:, None, :]
            for i, width in enumerate(self.config.widths):
                x = ConvBlock(width, 5, 8, Compute(), name=f"block_{i}")(x)
            x = x[:, 0]
        elif self.config.kind == "layer_norm":
            for i, width in enumerate(self.config.widths):
                x = Dense(width, name=f"dense_{i}")(x)
                x = nn.silu(nn.LayerNorm(name=f"norm_{i}")(x))
        else:
            for i, width in enumerate(self.config.widths):
                x = ResidualDense(width, name=f"block_{i}_a")(x)
                x = ResidualDense(width, name=f"block_{i}_b")(x)
        return Dense(1, name="head")(x)[:, 0]
