"""Whole solutions of the teacher's ODE, which a student's jumps are regressed on."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from ractd_jax.diffusion.preconditioning import DenoiseFn
from ractd_jax.diffusion.solvers import heun_step


class PathPoints(NamedTuple):
    """Points of the teacher's paths from noise to plans, one of each path.

    Attributes:
      start: [B, H, D] x_t, a point of the path.
      sigma: [B] its level t.
      end: [B, H, D] the plan in which the path ends, at sigma_min.
      condition: what the path is conditioned on, a tree of arrays [B, ...].
    """

    start: jax.Array
    sigma: jax.Array
    end: jax.Array
    condition: Any


def solve_paths(
    denoise_fn: DenoiseFn,
    x_init: jax.Array,
    condition: Any,
    sigmas: jax.Array,
    levels: jax.Array,
) -> PathPoints:
    """Follows paths from `x_init` over the whole grid, and keeps a point of each.

    A jump from that point to its path's end is the triple (t, u, s) of CTM with u = s =
    sigma_min: the teacher's solver covers the whole path, and nothing is learned from
    the student's own jumps. The jump from t = sigma_max is exactly what a one-step
    student is used for (Luhman and Luhman, 2021).

    Args:
      denoise_fn: the teacher's D(x, sigma) for `condition`.
      x_init: [B, H, D] noise at ``sigmas[0]``.
      condition: kept with the points.
      sigmas: [S + 1] decreasing levels; S Heun steps.
      levels: [B] int32 in 0 .. S - 1, which point of its path each keeps.
    """
    chex.assert_rank([sigmas, levels], 1)

    def body(carry, level):
        x, kept = carry
        kept = jnp.where(_expand(levels == level, x), x, kept)
        return (heun_step(denoise_fn, x, sigmas[level], sigmas[level + 1]), kept), None

    steps = jnp.arange(len(sigmas) - 1)
    (end, start), _ = jax.lax.scan(body, (x_init, x_init), steps)
    return PathPoints(start, sigmas[levels], end, condition)


def _expand(mask, x):
    return mask.reshape(-1, *[1] * (x.ndim - 1))
