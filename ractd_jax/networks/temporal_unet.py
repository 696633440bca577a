"""The temporal U-Net that teacher and student share (Duan 2025, B.1)."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from ractd_jax.networks.blocks import (
    Compute,
    Conv,
    ConvBlock,
    ConvTranspose,
    ResidualBlock,
)
from ractd_jax.networks.conditioning import CONDITIONINGS, read_inputs
from ractd_jax.networks.elements import CrossAttention, ElementsConfig


@dataclasses.dataclass(frozen=True)
class TemporalUNetConfig:
    """Shape of a temporal U-Net.

    Attributes:
      plan_dim: D, dimensions of one step of the plan.
      widths: channels of each level; the horizon halves between levels.
      embed_dim: size of the noise-level embedding, even.
      noise_embedding: see :class:`ractd_jax.networks.NoiseEmbedding`.
      kernel_size: taps of the convolutions, odd.
      num_groups: groups of the group norms; divides every width.
      dropout_rate: probability of dropping an activation while training.
      condition_dim: flattened size of the condition; checked when given.
      conditioning: how the condition enters: ``film`` (the FiLM layers), ``ends`` (it
        is the first and the last step of the plan, see :func:`pin_ends`) or ``both``.
      patch_size: steps of the plan that are stacked into one position; long plans of
        smooth paths then cost that much less.
      fourier_octaves: octaves of Fourier features that the steps of the plan and the
        condition get besides their own values, the condition through a small MLP; 0 is
        Duan et al.'s network, whose FiLM layers are linear in the condition.
      pin_reach: steps of a clean plan that its pinned ends move along with them.
      elements: how elements of the scene condition plans; None without any.
      pin_size: leading numbers of a step that an end names; None for all.
      compute: how to compute.
    """

    plan_dim: int
    widths: tuple[int, ...] = (64, 128, 256)
    embed_dim: int = 32
    noise_embedding: str = "released"
    kernel_size: int = 5
    num_groups: int = 8
    dropout_rate: float = 0.0
    condition_dim: int | None = None
    conditioning: str = "film"
    patch_size: int = 1
    fourier_octaves: int = 0
    pin_reach: int = 0
    elements: ElementsConfig | None = None
    pin_size: int | None = None
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
        if self.conditioning not in CONDITIONINGS:
            raise ValueError(
                f"conditioning must be one of {CONDITIONINGS}, "
                f"not {self.conditioning!r}"
            )

    @property
    def pins_ends(self) -> bool:
        """Whether the condition is the plan's first and last step."""
        return self.conditioning != "film"

    @property
    def block_features(self) -> dict[str, int]:
        """Name and channels of every residual block, in the order they run."""
        down = {
            f"down_{i}_{ab}": width
            for i, width in enumerate(self.widths)
            for ab in "ab"
        }
        middle = {f"middle_{ab}": self.widths[-1] for ab in "ab"}
        up = {
            f"up_{i}_{ab}": self.widths[i - 1]
            for i in range(len(self.widths) - 1, 0, -1)
            for ab in "ab"
        }
        return down | middle | up

    @property
    def film_sizes(self) -> dict[str, int]:
        """Name of every layer with FiLM, and the size of its row (scale, bias)."""
        return {name: 2 * features for name, features in self.block_features.items()}

    def check_horizon(self, horizon: int) -> None:
        """Raises ValueError when the levels cannot halve `horizon`."""
        factor = self.patch_size * 2 ** (len(self.widths) - 1)
        if horizon % factor:
            levels = len(self.widths)
            patches = f" of patches of {self.patch_size}" * (self.patch_size > 1)
            raise ValueError(
                f"a horizon of {horizon} does not fit {levels} levels{patches}: it "
                f"must be a multiple of {factor}"
            )


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
        c_noise: jax.Array | None,
        cond: jax.Array,
        c_noise_stop: jax.Array | None = None,
        *,
        deterministic: bool = True,
    ) -> jax.Array:
        """Applies the network.

        Args:
          x: [B, H, D] scaled noisy plans; H is a multiple of 2^(levels - 1).
          c_noise: [B] noise input, 250 ln sigma; None with parameters from
            :func:`fold_levels`.
          cond: [B, ...] conditions, flattened.
          c_noise_stop: [B] noise input of the level to jump to, or None.
          deterministic: False draws dropout masks from the ``dropout`` rng.

        Returns:
          [B, H, D] float32.
        """
        config = self.config
        shape = x.shape
        inputs = read_inputs(config, x, c_noise, cond, c_noise_stop)
        x, condition, films, tokens = inputs

        def residual(name, features, hidden, attends=True):
            hidden = ResidualBlock(
                features,
                config.kernel_size,
                config.num_groups,
                config.dropout_rate,
                config.compute,
                name=name,
            )(hidden, condition, deterministic, films.get(name))
            if tokens is None or not attends:
                return hidden
            return CrossAttention(
                config.elements.num_heads,
                config.elements.head_size,
                config.num_groups,
                config.compute,
                name=f"{name}_attention",
            )(hidden, tokens)

        skips = []
        last = len(config.widths) - 1
        for i, width in enumerate(config.widths):
            x = residual(f"down_{i}_a", width, x)
            x = residual(f"down_{i}_b", width, x)
            skips.append(x)
            if i < last:
                x = Conv(width, 3, 2, config.compute, name=f"downsample_{i}")(x)
        for name in ("middle_a", "middle_b"):
            x = residual(name, config.widths[-1], x, attends=False)
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
        size = config.patch_size * config.plan_dim
        x = Conv(size, 1, compute=config.compute, name="head")(x)
        return x.reshape(shape).astype(jnp.float32)
