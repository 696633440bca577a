"""A transformer over the steps of a plan, an alternative to the temporal U-Net."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from ractd_jax.networks.blocks import Compute, Dense
from ractd_jax.networks.conditioning import CONDITIONINGS, read_inputs
from ractd_jax.networks.elements import ElementsConfig
from ractd_jax.networks.noise_embedding import sinusoidal_embedding

# Features of the hidden layer of a block's MLP, times the width.
_EXPANSION = 4


@dataclasses.dataclass(frozen=True)
class TemporalTransformerConfig:
    """Shape of a temporal transformer.

    Fields that are not listed are those of
    :class:`ractd_jax.networks.TemporalUNetConfig`; a patch is a token, and elements are
    concatenated.

    Attributes:
      plan_dim: D, dimensions of one step of the plan.
      width: features of a token; even, a multiple of `num_heads`.
      num_blocks: blocks of attention and MLP.
      num_heads: heads of the attention.
      embed_dim: size of the noise-level embedding, even.
      noise_embedding: see :class:`ractd_jax.networks.NoiseEmbedding`.
      dropout_rate: probability of dropping an activation while training.
      condition_dim: flattened size of the condition; checked when given.
    """

    plan_dim: int
    width: int = 128
    num_blocks: int = 2
    num_heads: int = 4
    embed_dim: int = 32
    noise_embedding: str = "edm"
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
        if self.width % self.num_heads or self.width % 2:
            raise ValueError(
                f"width must be even and a multiple of num_heads = {self.num_heads}, "
                f"not {self.width}"
            )
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
    def film_sizes(self) -> dict[str, int]:
        """Name of every layer with FiLM, and the size of its row.

        A block has a shift, a scale and a gate for its attention and for its MLP.
        """
        blocks = {f"block_{i}": 6 * self.width for i in range(self.num_blocks)}
        return blocks | {"head": 2 * self.width}

    def check_horizon(self, horizon: int) -> None:
        """Raises ValueError when `horizon` is no number of whole patches."""
        if horizon % self.patch_size:
            raise ValueError(
                f"a horizon of {horizon} does not fit patches of {self.patch_size}: it "
                f"must be a multiple of {self.patch_size}"
            )


def _film(module: nn.Module, size: int, condition, film) -> jax.Array:
    """[B, 1, size] the row of a layer's FiLM; zero at first, so that blocks add 0."""
    if film is None:
        film = Dense(size, module.config.compute, True, name="film")(condition)
    return film[:, None, :].astype(jnp.float32)


def _modulated(x: jax.Array, shift: jax.Array, scale: jax.Array) -> jax.Array:
    """Layer norm without parameters, then (1 + scale) y + shift."""
    norm = nn.LayerNorm(use_bias=False, use_scale=False)
    return norm(x) * (1.0 + scale) + shift


class _Block(nn.Module):
    config: TemporalTransformerConfig

    @nn.compact
    def __call__(self, x, condition, deterministic, film):
        config = self.config
        dtype = jnp.dtype(config.compute.dtype)
        rows = _film(self, 6 * config.width, condition, film)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = jnp.split(rows, 6, axis=-1)
        dropout = nn.Dropout(config.dropout_rate, deterministic=deterministic)
        attention = nn.MultiHeadDotProductAttention(
            config.num_heads, dtype=dtype, name="attention"
        )
        x = x + gate * dropout(attention(_modulated(x, shift, scale)))
        hidden = _modulated(x, mlp_shift, mlp_scale)
        hidden = Dense(_EXPANSION * config.width, config.compute, name="mlp_in")(hidden)
        hidden = Dense(config.width, config.compute, name="mlp_out")(nn.gelu(hidden))
        return x + mlp_gate * dropout(hidden)


class _Head(nn.Module):
    config: TemporalTransformerConfig

    @nn.compact
    def __call__(self, x, condition, film):
        config = self.config
        rows = _film(self, 2 * config.width, condition, film)
        x = _modulated(x, *jnp.split(rows, 2, axis=-1))
        size = config.patch_size * config.plan_dim
        return Dense(size, config.compute, True, name="out")(x)


class TemporalTransformer(nn.Module):
    """A diffusion transformer over the steps of a plan (Peebles and Xie, 2023).

    Every position attends to all, and the condition enters by adaptive layer norms
    whose gates begin at zero. It is called like
    :class:`ractd_jax.networks.TemporalUNet`; the student's form, with `c_noise_stop`,
    differs from the teacher's only in the height of the ``film`` kernels.
    """

    config: TemporalTransformerConfig

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
          x: [B, H, D] scaled noisy plans; H is a multiple of the patch size.
          c_noise: [B] noise input, 250 ln sigma; None with parameters from
            :func:`ractd_jax.networks.fold_levels`.
          cond: [B, ...] conditions, flattened.
          c_noise_stop: [B] noise input of the level to jump to, or None.
          deterministic: False draws dropout masks from the ``dropout`` rng.

        Returns:
          [B, H, D] float32.
        """
        config = self.config
        shape = x.shape
        inputs = read_inputs(config, x, c_noise, cond, c_noise_stop)
        x, condition, films, _ = inputs
        places = sinusoidal_embedding(jnp.arange(x.shape[1]), config.width)
        hidden = Dense(config.width, config.compute, name="tokens")(x) + places
        hidden = hidden.astype(jnp.float32)
        for i in range(config.num_blocks):
            name = f"block_{i}"
            block = _Block(config, name=name)
            hidden = block(hidden, condition, deterministic, films.get(name))
        head = _Head(config, name="head")
        return (
            head(hidden, condition, films.get("head")).reshape(shape).astype("float32")
        )
