"""Distances between plans, by name."""

from __future__ import annotations

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np

DistanceFn = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]

_HUBER_SCALE = 0.00054


def _squared(error: jax.Array) -> jax.Array:
    return jnp.mean(jnp.square(error), axis=tuple(range(1, error.ndim)))


def _pseudo_huber(error: jax.Array) -> jax.Array:
    dims = error[0].size
    c = _HUBER_SCALE * dims**0.5
    squared_norm = jnp.sum(jnp.square(error), axis=tuple(range(1, error.ndim)))
    return jnp.sqrt(squared_norm + c**2) - c


def _released(error: jax.Array) -> jax.Array:
    c = _HUBER_SCALE * error[0].size ** 0.5
    element = jnp.sqrt(jnp.square(jnp.square(error)) + c**2) - c
    return jnp.mean(element, axis=tuple(range(1, error.ndim)))


_PER_PLAN = {
    "squared": _squared,
    "pseudo_huber": _pseudo_huber,
    "released": _released,
}

DISTANCES = tuple(_PER_PLAN)


def distance(name: str, plan_weights: jax.typing.ArrayLike | None = None) -> DistanceFn:
    """The weighted distance ``f(prediction, target, weights) -> scalar``.

    * ``squared``: mean over the plan of e^2.
    * ``pseudo_huber``: ``sqrt(|e|^2 + c^2) - c`` of the plan's error vector, with
      c = 0.00054 sqrt(H D) (Song and Dhariwal 2024, eq. 8).
    * ``released``: mean over the plan of sqrt((e^2)^2 + c^2) - c, what Duan et
      al.'s code computes under the name of pseudo-Huber.

    `prediction` and `target` are [B, H, D], `weights` [B]; the result is the mean
    over plans of weight times distance.

    Args:
      name: one of DISTANCES.
      plan_weights: [H, D] weights of e^2 of each number of a plan, with mean 1; None
        for equal ones.

    Raises:
      ValueError: an unknown name.
    """
    if name not in _PER_PLAN:
        raise ValueError(f"distance must be one of {DISTANCES}, not {name!r}")
    per_plan = _PER_PLAN[name]
    scale = None
    if plan_weights is not None:
        scale = np.sqrt(np.asarray(plan_weights, np.float32))

    def weighted(prediction, target, weights):
        chex.assert_equal_shape([prediction, target])
        chex.assert_shape(weights, prediction.shape[:1])
        error = prediction - target
        if scale is not None:
            error = error * scale
        return jnp.mean(weights * per_plan(error))

    return weighted
