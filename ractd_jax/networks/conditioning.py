"""What the networks over a plan's steps share: their inputs, pinned ends, FiLM rows.

The FiLM layers of these networks (``film`` in the layers that `config.film_sizes`
names) are linear in [mish(emb(t)), mish(emb(s)), mish(condition)], so that what depends
on fixed noise levels can be folded into their biases.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.networks.blocks import Dense, fourier_features, mish
from ractd_jax.networks.elements import ElementTokens, split_elements
from ractd_jax.networks.noise_embedding import NoiseEmbedding

# Width of the MLP that reads the Fourier features of the condition.
_CONDITION_WIDTH = 128

CONDITIONINGS = ("film", "ends", "both")


class Inputs(NamedTuple):
    """What the blocks of a network read.

    Attributes:
      x: [B, H / patch_size, C] the plan's positions.
      condition: [B, E] of the FiLM layers, activated.
      films: name -> [B, size] of :attr:`film_sizes`; empty unless levels are folded.
      tokens: [B, E, T] of the elements that blocks attend to, or None.
    """

    x: jax.Array
    condition: jax.Array
    films: dict[str, jax.Array]
    tokens: jax.Array | None = None


def pin_ends(
    plans: jax.Array, ends: jax.Array, reach: int = 0, size: int | None = None
) -> jax.Array:
    """`plans` [B, H, D] with known ends in place (inpainting).

    With a `reach`, the steps next to an end move along with it, by a share that falls
    to nothing over `reach` steps, so that a clean path has no jump next to its ends.

    Args:
      plans: the plans.
      ends: [B, size] the first step, or [B, 2 size] the first and the last.
      reach: steps.
      size: leading numbers of a step that are known at an end; all D by default.
    """
    if size is not None and size < plans.shape[-1]:
        known = pin_ends(plans[..., :size], ends, reach)
        return jnp.concatenate([known, plans[..., size:]], axis=-1)
    size = plans.shape[-1]
    chex.assert_is_divisible(ends.shape[-1], size)
    ends = ends.astype(plans.dtype)
    ends = ends.reshape(ends.shape[0], ends.shape[1] // size, size)
    # The first step, and the last where it is known.
    places = (0, -1)[: ends.shape[1]]
    if reach:
        share = jnp.maximum(1.0 - jnp.arange(plans.shape[1]) / reach, 0.0)[:, None]
        moves = [ends[:, place] - plans[:, place] for place in places]
        for near, move in zip((share, share[::-1]), moves, strict=False):
            plans = plans + near * move[:, None]
    for place in places:
        plans = plans.at[:, place].set(ends[:, place])
    return plans


def read_inputs(
    config: Any,
    x: jax.Array,
    c_noise: jax.Array | None,
    cond: jax.Array,
    c_noise_stop: jax.Array | None,
) -> Inputs:
    """The arguments of a network's call, for its blocks.

    Called in the network's own scope: the layers that it makes are the network's.

    Args:
      config: of a :class:`TemporalUNet` or a :class:`TemporalTransformer`.
      x: [B, H, D] scaled noisy plans.
      c_noise: [B] noise input, or None with folded levels.
      cond: [B, ...] conditions, flattened.
      c_noise_stop: [B] noise input of the level to jump to, or None.
    """
    chex.assert_rank(x, 3)
    config.check_horizon(x.shape[1])
    embed = NoiseEmbedding(
        config.embed_dim, config.compute, config.noise_embedding, name="noise_embedding"
    )
    levels = [level for level in (c_noise, c_noise_stop) if level is not None]
    chex.assert_rank(levels, 1)
    parts = [embed(level) for level in levels]
    cond = cond.reshape(cond.shape[0], -1).astype(config.compute.dtype)
    if config.condition_dim is not None:
        chex.assert_axis_dimension(cond, 1, config.condition_dim)
    cond, elements = split_elements(config.elements, cond)
    tokens = None
    if elements is not None:
        tokens = ElementTokens(config.elements, name="element_tokens")(elements)
    if config.pins_ends:
        # Not scaled as the noisy steps are: what is known stays visible.
        x = pin_ends(x, cond, size=config.pin_size)
    if config.conditioning == "ends":
        cond = cond[:, :0]  # With folded levels nothing is left: [B, 0].
    elif config.fourier_octaves:
        hidden = fourier_features(cond, config.fourier_octaves)
        hidden = mish(Dense(_CONDITION_WIDTH, config.compute, name="cond_in")(hidden))
        hidden = Dense(_CONDITION_WIDTH, config.compute, name="cond_out")(hidden)
        cond = jnp.concatenate([cond, hidden], axis=-1)
    parts.append(cond)
    if tokens is not None and config.elements.conditioning == "concat":
        parts.append(tokens.reshape(tokens.shape[0], -1))
        tokens = None
    if config.fourier_octaves:
        x = fourier_features(x, config.fourier_octaves)
    batch, horizon, _ = x.shape
    x = x.reshape(batch, horizon // config.patch_size, -1)
    condition, films = mish(jnp.concatenate(parts, axis=-1)), {}
    if c_noise is None:
        sizes = list(config.film_sizes.values())
        joined = Dense(sum(sizes), config.compute, name="films")(condition)
        split = jnp.split(joined, np.cumsum(sizes)[:-1], axis=-1)
        films = dict(zip(config.film_sizes, split, strict=True))
    return Inputs(x, condition, films, tokens)


@functools.partial(jax.jit, static_argnames="config")
def _joined_films(noise_embedding, layers, c_noises, *, config):
    """The one layer ``films`` of :func:`fold_levels`."""
    embed = NoiseEmbedding(config.embed_dim, config.compute, config.noise_embedding)
    embedded = embed.apply({"params": noise_embedding}, c_noises)
    row = mish(embedded).reshape(-1).astype(jnp.float32)
    kernel = jnp.concatenate([layer["kernel"] for layer in layers], axis=-1)
    bias = jnp.concatenate([layer["bias"] for layer in layers])
    return {"kernel": kernel[len(row) :], "bias": bias + row @ kernel[: len(row)]}


def fold_levels(params: dict, config: Any, c_noises: Sequence[float]) -> dict:
    """Parameters of the network at fixed noise levels, for ``c_noise=None``.

    The first rows of a FiLM layer read the noise embeddings. At fixed levels they give
    a constant, which is added to its bias once instead of at every call. The remaining
    rows of all FiLM layers read only the condition, and are joined into one layer,
    ``films``.

    Args:
      params: parameters of the network.
      config: its configuration.
      c_noises: 250 ln t, or 250 ln t and 250 ln s for a student's network.
    """
    layers = [params[name]["film"] for name in config.film_sizes]
    levels = np.asarray(c_noises, np.float32)
    films = _joined_films(params["noise_embedding"], layers, levels, config=config)
    rest = {
        name: {key: value for key, value in layer.items() if key != "film"}
        for name, layer in params.items()
        if name != "noise_embedding"
    }
    return rest | {"films": films}
