"""A residual MLP over a whole short plan, an alternative to the temporal U-Net."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.networks.blocks import Compute, Conv
from ractd_jax.networks.noise_embedding import NoiseEmbedding

LARGEST_PLAN = 512


@dataclasses.dataclass(frozen=True)
class ResidualMLPConfig:
    """Shape of a residual MLP.

    Attributes:
      plan_shape: (H, D) of the plans.
      width: features of the hidden layers.
      num_blocks: residual blocks.
      embed_dim: size of the noise-level embedding, even.
      noise_embedding: see :class:`ractd_jax.networks.NoiseEmbedding`.
      dropout_rate: probability of dropping an activation while training.
      condition_dim: flattened size of the condition; checked when given.
      compute: how to compute.
    """

    plan_shape: tuple[int, int]
    width: int = 192
    num_blocks: int = 2
    embed_dim: int = 32
    noise_embedding: str = "edm"
    dropout_rate: float = 0.0
    condition_dim: int | None = None
    compute: Compute = Compute()

    # What a network says of itself, see TemporalUNetConfig: no end is ever pinned.
    pins_ends = False
    pin_reach = 0

    def check_horizon(self, horizon: int) -> None:
        """Raises ValueError for plans with too many numbers for an MLP."""
        size = horizon * self.plan_shape[1]
        if size > LARGEST_PLAN:
            raise ValueError(
                f"a horizon of {horizon} makes plans of {size} numbers, and "
                f"network.kind='mlp' takes at most {LARGEST_PLAN}; use "
                "network.kind='unet' for long plans"
            )


class ResidualMLP(nn.Module):
    """h = W [emb(t), emb(s), x, cond]; then blocks h + Dense(silu(Dense(norm(h)))).

    It is called like :class:`ractd_jax.networks.TemporalUNet`. The student's form, with
    `c_noise_stop`, differs from the teacher's only in the height of ``dense_in``. The
    layers are convolutions of one tap over one position, so that they are computed and
    packed like the U-Net's.
    """

    config: ResidualMLPConfig

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
          x: [B, H, D] scaled noisy plans.
          c_noise: [B] noise input, 250 ln sigma; None with parameters from
            :func:`fold_mlp_levels`.
          cond: [B, ...] conditions, flattened.
          c_noise_stop: [B] noise input of the level to jump to, or None.
          deterministic: False draws dropout masks from the ``dropout`` rng.

        Returns:
          [B, H, D] float32.
        """
        config = self.config
        chex.assert_shape(x, (None, *config.plan_shape))
        levels = [level for level in (c_noise, c_noise_stop) if level is not None]
        chex.assert_rank(levels, 1)
        embed = NoiseEmbedding(
            config.embed_dim,
            config.compute,
            config.noise_embedding,
            name="noise_embedding",
        )
        cond = cond.reshape(cond.shape[0], -1)
        if config.condition_dim is not None:
            chex.assert_axis_dimension(cond, 1, config.condition_dim)
        parts = [embed(level).astype(jnp.float32) for level in levels]
        parts += [x.reshape(x.shape[0], -1), cond]
        hidden = jnp.concatenate(parts, axis=-1)[:, None]  # [B, 1, C]

        def dense(features, name):
            return Conv(features, 1, compute=config.compute, name=name)

        dropout = nn.Dropout(config.dropout_rate, deterministic=deterministic)
        hidden = dense(config.width, "dense_in")(hidden)
        for i in range(config.num_blocks):
            inner = nn.LayerNorm(name=f"block_{i}_norm")(hidden)
            inner = dense(config.width, f"block_{i}_in")(inner)
            inner = dropout(nn.silu(inner))
            hidden = hidden + dense(config.width, f"block_{i}_out")(inner)
        hidden = nn.silu(nn.LayerNorm(name="norm_out")(hidden))
        size = int(np.prod(config.plan_shape))
        return dense(size, "head")(hidden).reshape(x.shape).astype(jnp.float32)


@jax.jit(static_argnames="config")
def _folded_layer(noise_embedding, layer, c_noises, *, config):
    embed = NoiseEmbedding(config.embed_dim, config.compute, config.noise_embedding)
    row = embed.apply({"params": noise_embedding}, c_noises).reshape(-1)
    kernel = layer["kernel"]
    bias = layer["bias"] + row.astype(jnp.float32) @ kernel[0, : len(row)]
    return {"kernel": kernel[:, len(row) :], "bias": bias}


def fold_mlp_levels(
    params: dict, config: ResidualMLPConfig, c_noises: Sequence[float]
) -> dict:
    """Like :func:`ractd_jax.networks.fold_levels`: embeddings become a bias."""
    levels = np.asarray(c_noises, np.float32)
    rest = {name: layer for name, layer in params.items() if name != "noise_embedding"}
    rest["dense_in"] = _folded_layer(
        params["noise_embedding"], params["dense_in"], levels, config=config
    )
    return rest
