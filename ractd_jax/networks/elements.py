"""Elements of a scene that condition a plan: their tokens, and attention to them.

A condition ends in E elements of F numbers each and one number that says whether they
are known (1) or left out (0), as classifier-free guidance needs it.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from ractd_jax.networks.blocks import (
    Compute,
    Conv,
    Dense,
    GroupNorm,
    fourier_features,
)

CONDITIONINGS = ("attention", "concat")
_INIT = nn.initializers.normal(0.02)


@dataclasses.dataclass(frozen=True)
class ElementsConfig:
    """How a network reads elements.

    Attributes:
      count: E.
      size: F, numbers of an element.
      conditioning: ``attention`` to their tokens after each residual block but the
        middle ones, or ``concat`` of the tokens with the FiLM layers' inputs.
      octaves: octaves of Fourier features of each number.
      kinds: K, where an element is the number of its kind, 0 .. K - 1; 0 where it is
        described by F numbers.
      embed_dim: size of a kind's embedding.
      num_heads: of the attention.
      head_size: features of a head.
    """

    count: int
    size: int
    conditioning: str = "attention"
    octaves: int = 10
    kinds: int = 0
    embed_dim: int = 20
    num_heads: int = 4
    head_size: int = 32

    def __post_init__(self):
        if self.conditioning not in CONDITIONINGS:
            raise ValueError(
                f"conditioning must be one of {CONDITIONINGS}, "
                f"not {self.conditioning!r}"
            )

    @property
    def flat_size(self) -> int:
        """Numbers of a condition that this reads (elements, and whether known)."""
        return self.count * self.size + 1

    @property
    def token_size(self) -> int:
        if self.kinds:
            return self.embed_dim
        return self.size * (1 + 2 * self.octaves)


class ElementTokens(nn.Module):
    """[B, E F + 1] -> [B, E, T]: Fourier features or embeddings, and slots.

    A learned vector for each slot tells them apart, which attention alone would not.

    Where the elements are left out, each slot has a learned token in place of its
    features: zeros would be a legal element.
    """

    config: ElementsConfig

    @nn.compact
    def __call__(self, flat: jax.Array) -> jax.Array:
        config = self.config
        shape = config.count, config.token_size
        elements, known = flat[:, :-1], flat[:, -1:, None]
        elements = elements.reshape(flat.shape[0], config.count, config.size)
        if config.kinds:
            embedding = self.param("kinds", _INIT, (config.kinds, config.embed_dim))
            numbers = elements[..., 0].astype(jnp.int32)
            features = jax.nn.one_hot(numbers, config.kinds) @ embedding
        else:
            features = fourier_features(elements, config.octaves)
        blank = self.param("blank", _INIT, shape)
        slots = self.param("slots", _INIT, shape)
        return known * features + (1.0 - known) * blank + slots


class CrossAttention(nn.Module):
    """x + W attention(queries of norm(x), keys and values of the tokens).

    The queries are a convolution over the plan's steps. W begins at zero, so that a
    network begins as the one without elements.
    """

    num_heads: int
    head_size: int
    num_groups: int
    compute: Compute

    @nn.compact
    def __call__(self, x: jax.Array, tokens: jax.Array) -> jax.Array:
        """[B, H, C], [B, E, T] -> [B, H, C]."""
        size = self.num_heads * self.head_size

        def heads(array):
            return array.reshape(*array.shape[:2], self.num_heads, self.head_size)

        hidden = GroupNorm(self.num_groups, name="norm")(x)
        queries = heads(Conv(size, 3, compute=self.compute, name="queries")(hidden))
        keys = heads(Dense(size, self.compute, name="keys")(tokens))
        values = heads(Dense(size, self.compute, name="values")(tokens))
        found = nn.dot_product_attention(queries, keys, values)
        found = found.reshape(*x.shape[:2], size)
        return x + Dense(x.shape[-1], self.compute, True, name="out")(found)


def split_elements(
    config: ElementsConfig | None, flat: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    """[B, C] a condition -> (what is no element, what :class:`ElementTokens` reads)."""
    if config is None:
        return flat, None
    size = flat.shape[-1] - config.flat_size
    return flat[:, :size], jnp.asarray(flat[:, size:])
