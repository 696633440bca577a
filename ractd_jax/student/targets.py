"""Targets of the CTM loss (time triples, teacher solves) and the warm start."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from ractd_jax.diffusion.preconditioning import DenoiseFn
from ractd_jax.diffusion.solvers import heun_step


class TimeTriple(NamedTuple):
    """Grid bins t <= u <= s, int32 [B]; a larger bin is a lower noise level."""

    t: jax.Array
    u: jax.Array
    s: jax.Array


def sample_time_triples(
    key: jax.Array, batch: int, num_scales: int, max_solver_steps: int
) -> TimeTriple:
    """t ~ U{0..N-1}, s ~ U{t..N}, u ~ U{t..s} and then u <= t + max_solver_steps.

    Duan et al.'s code has max_solver_steps = 1; Kim et al. (2024) use more. Bins N - 1
    and N both stand for `sigma_min`.
    """
    t_key, s_key, u_key = jax.random.split(key, 3)
    # 1. t is where the student's jump starts, s >= t where it ends (less noise).
    t = jax.random.randint(t_key, (batch,), 0, num_scales)
    s = jax.random.randint(s_key, (batch,), t, num_scales + 1)
    # 2. u, in between, is where the teacher's solver hands over to the frozen student.
    #    With u = t the target is the student's own jump, with u = s the solver's alone.
    u = jax.random.randint(u_key, (batch,), t, s + 1)
    # 3. The cap bounds the cost: the solver takes a Heun step for each bin to u.
    return TimeTriple(t, jnp.minimum(u, t + max_solver_steps), s)


def solve_teacher(
    denoise_fn: DenoiseFn,
    x: jax.Array,
    start_bin: jax.Array,
    stop_bin: jax.Array,
    sigmas: jax.Array,
    max_solver_steps: int,
) -> jax.Array:
    """Follows the teacher's ODE from bin t to bin u, one Heun step a bin.

    Args:
      denoise_fn: the teacher's D(x, sigma).
      x: [B, ...] points at ``sigmas[start_bin]``.
      start_bin: [B] int bins t.
      stop_bin: [B] int bins u, t <= u <= t + max_solver_steps.
      sigmas: [N + 1] noise level of each bin.
      max_solver_steps: length of the scan; a row that has reached its u stays as it is.
    """
    chex.assert_equal_shape([start_bin, stop_bin])

    # Rows have paths of different lengths in bins, a scan has one length. Rows that
    # have reached u take steps from u to u, which leave them as they are.
    def body(x, step):
        here = jnp.minimum(start_bin + step, stop_bin)
        there = jnp.minimum(here + 1, stop_bin)
        return heun_step(denoise_fn, x, sigmas[here], sigmas[there]), None

    return jax.lax.scan(body, x, jnp.arange(max_solver_steps))[0]


def warm_start(teacher_params: dict, embed_dim: int) -> dict:
    """Student parameters that compute the teacher's function for every stop level.

    All weights are copied. The layers that read the noise embedding (each ``film`` of a
    U-Net, ``dense_in`` of an MLP) gain the rows of the s-embedding, which start at
    zero; their input begins with [emb(t), emb(s)].

    Args:
      teacher_params: parameters of a denoiser's network with one noise input.
      embed_dim: its embedding size.
    """

    def widen(path, leaf):
        names = [entry.key for entry in path]
        if names[-2:] != ["film", "kernel"] and names != ["dense_in", "kernel"]:
            return jnp.array(leaf)
        # Zero rows for emb(s): the student starts as the teacher, whatever s is.
        before, after = jnp.split(leaf, [embed_dim], axis=-2)
        return jnp.concatenate([before, jnp.zeros_like(before), after], axis=-2)

    return jax.tree_util.tree_map_with_path(widen, teacher_params)
