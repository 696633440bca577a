"""The temporal U-Net that teacher and student share (thesis B.1)."""

from __future__ import annotations

import dataclasses
import math

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from ractd_jax.networks.blocks import (
    Compute,
    Conv,
    ConvBlock,
    ConvTranspose,
    Dense,
    ResidualBlock,
    mish,
)


@dataclasses.dataclass(frozen=True)
class TemporalUNetConfig:
    """Shape of a temporal U-Net.

    Attributes:
      plan_dim: D, dimensions of one step of the plan.
      widths: channels of each level; the horizon halves between levels.
      embed_dim: size of the noise-level embedding, even.
      kernel_size: taps of the convolutions, odd.
      num_groups: groups of the group norms; divides every width.
      dropout_rate: probability of dropping an activation while training.
      condition_dim: flattened size of the condition; checked when given.
      compute: how to compute; does not change the parameters.
    """

    plan_dim: int
    widths: tuple[int, ...] = (64, 128, 256)
    embed_dim: int = 32
    kernel_size: int = 5
    num_groups: int = 8
    dropout_rate: float = 0.0
    condition_dim: int | None = None
    compute: Compute = Compute()

    def __post_init__(self):
        if not self.widths:
            raise ValueError("widths must name at least one level")
        for width in self.widths:
            if width % self.num_groups:
                raise ValueError(
                    f"width {width} cannot be split into {self.num_groups} groups"
                )
        if self.embed_dim % 2 or self.embed_dim < 4:
            raise ValueError(f"embed_dim must be even and >= 4, not {self.embed_dim}")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {self.kernel_size}")

    def check_horizon(self, horizon: int) -> None:
        """Raises ValueError when the levels cannot halve `horizon`."""
        factor = 2 ** (len(self.widths) - 1)
        if horizon % factor:
            levels = len(self.widths)
            raise ValueError(
                f"a horizon of {horizon} does not fit {levels} levels: it must be a "
                f"multiple of {factor}"
            )


def sinusoidal_embedding(position: jax.Array, dim: int) -> jax.Array:
    """[B] -> [B, dim]: [sin | cos] of frequencies exp(-ln(1e4) j / (dim/2 - 1))."""
    half = dim // 2
    frequencies = jnp.exp(-math.log(1e4) / (half - 1) * jnp.arange(half))
    angles = position.astype(jnp.float32)[:, None] * frequencies[None, :]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class NoiseEmbedding(nn.Module):
    """Sinusoid -> Dense(4 dim) -> Mish -> Dense(dim)."""

    dim: int
    compute: Compute

    @nn.compact
    def __call__(self, c_noise: jax.Array) -> jax.Array:
        x = sinusoidal_embedding(c_noise, self.dim)
        x = mish(Dense(4 * self.dim, self.compute, name="dense_in")(x))
        return Dense(self.dim, self.compute, name="dense_out")(x)


class TemporalUNet(nn.Module):
    """U-Net over the steps of a plan, conditioned by FiLM.

    ``TemporalUNet(config).apply({"params": p}, x, c_noise, cond, c_noise_stop)``.
    With `c_noise_stop` it is the student's network F(x, t, s, cond); the FiLM inputs
    then hold a second embedding by the same MLP, so the parameters of the two forms
    differ only in the height of the ``film`` kernels.
    """

    config: TemporalUNetConfig

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        c_noise: jax.Array,
        cond: jax.Array,
        c_noise_stop: jax.Array | None = None,
        *,
        deterministic: bool = True,
    ) -> jax.Array:
        """Applies the network.

        Args:
          x: [B, H, D] scaled noisy plans; H is a multiple of 2^(levels - 1).
          c_noise: [B] noise input, 250 ln sigma.
          cond: [B, ...] conditions, flattened.
          c_noise_stop: [B] noise input of the level to jump to, or None.
          deterministic: False draws dropout masks from the ``dropout`` rng.

        Returns:
          [B, H, D] float32.
        """
        config = self.config
        chex.assert_rank([x, c_noise], [3, 1])
        config.check_horizon(x.shape[1])
        embed = NoiseEmbedding(config.embed_dim, config.compute, name="noise_embedding")
        levels = [c_noise] if c_noise_stop is None else [c_noise, c_noise_stop]
        parts = [embed(level) for level in levels]
        cond = cond.reshape(cond.shape[0], -1).astype(config.compute.dtype)
        if config.condition_dim is not None:
            chex.assert_axis_dimension(cond, 1, config.condition_dim)
        parts.append(cond)
        condition = mish(jnp.concatenate(parts, axis=-1))

        def residual(name, features, hidden):
            return ResidualBlock(
                features,
                config.kernel_size,
                config.num_groups,
                config.dropout_rate,
                config.compute,
                name=name,
            )(hidden, condition, deterministic)

        skips = []
        last = len(config.widths) - 1
        for i, width in enumerate(config.widths):
            x = residual(f"down_{i}_a", width, x)
            x = residual(f"down_{i}_b", width, x)
            skips.append(x)
            if i < last:
                x = Conv(width, 3, 2, config.compute, name=f"downsample_{i}")(x)
        for name in ("middle_a", "middle_b"):
            x = residual(name, config.widths[-1], x)
        for i in range(last, 0, -1):
            width = config.widths[i - 1]
            x = jnp.concatenate([x, skips[i]], axis=-1)
            x = residual(f"up_{i}_a", width, x)
            x = residual(f"up_{i}_b", width, x)
            x = ConvTranspose(width, config.compute, name=f"upsample_{i}")(x)
        x = ConvBlock(
            config.widths[0],
            config.kernel_size,
            config.num_groups,
            config.compute,
            name="head_block",
        )(x)
        x = Conv(config.plan_dim, 1, compute=config.compute, name="head")(x)
        return x.astype(jnp.float32)
