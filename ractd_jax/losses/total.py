"""The student's total loss, alpha L_CTM + beta L_DSM + sigma_r L_Reward."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ractd_jax.diffusion.preconditioning import DenoiseFn, edm_weight
from ractd_jax.losses.ctm import ctm_loss
from ractd_jax.losses.distances import DistanceFn
from ractd_jax.losses.dsm import add_noise
from ractd_jax.losses.reward import reward_loss
from ractd_jax.student.jump import JumpFn, move_towards
from ractd_jax.student.targets import TimeTriple, solve_teacher

# g(x, sigma, sigma_stop, condition)
CleanFn = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]

DSM_FORMS = ("denoiser", "jump")
REWARD_INPUTS = ("dsm", "one_step")


class StudentDraws(NamedTuple):
    """The random draws of one student step.

    Attributes:
      triple: bins (t, u, s), each int32 [B].
      ctm_noise: [B, H, D] standard normal.
      dsm_sigma: [B] noise levels.
      dsm_noise: [B, H, D] standard normal.
      init_noise: [B, H, D] x_T of the one-step sample.
    """

    triple: TimeTriple
    ctm_noise: jax.Array
    dsm_sigma: jax.Array
    dsm_noise: jax.Array
    init_noise: jax.Array


def student_loss(
    clean_fn: CleanFn,
    frozen_jump_fn: JumpFn,
    teacher_denoise_fn: DenoiseFn,
    plan_return_fn: Callable[[jax.Array, jax.Array], jax.Array] | None,
    plans: jax.Array,
    condition: jax.Array,
    draws: StudentDraws,
    sigmas: jax.Array,
    *,
    distance_fn: DistanceFn,
    sigma_data: float,
    sigma_floor: float = 0.0,
    max_solver_steps: int,
    ctm_weight: jax.typing.ArrayLike,
    dsm_weight: jax.typing.ArrayLike,
    reward_weight: jax.typing.ArrayLike,
    advantage_cap: jax.typing.ArrayLike | None,
    dsm_form: str,
    reward_input: str,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Thesis eq. 3.7 with every branch of the trained network in one evaluation.

    Args:
      clean_fn: g_theta(x, sigma, sigma_stop, condition), the one with a gradient.
      frozen_jump_fn: G_sg(x, sigma, sigma_stop) for `condition`.
      teacher_denoise_fn: the teacher's D(x, sigma) for `condition`.
      plan_return_fn: R(plans, condition) -> [B], or None to leave the term out.
      plans: [B, H, D] clean normalised plans.
      condition: [B, C] what the networks are conditioned on.
      draws: the random draws.
      sigmas: [N + 1] noise level of each bin.
      distance_fn: distance of the CTM and the DSM loss.
      sigma_data: standard deviation of the data.
      sigma_floor: see :func:`ractd_jax.diffusion.edm_weight`.
      max_solver_steps: longest teacher solve in bins.
      ctm_weight: alpha.
      dsm_weight: beta.
      reward_weight: sigma_r.
      advantage_cap: see :func:`ractd_jax.losses.reward_loss`.
      dsm_form: what the DSM loss compares with the data. ``denoiser`` is g(x, t, t),
        as CTM has it. ``jump`` is G(x, t, smin), as released: it pulls the jump
        itself to the posterior mean, between the modes.
      reward_input: the clean plan that the reward sees. ``dsm`` is the jump to
        `sigma_min` from the DSM branch's noisy plan, ``one_step`` a one-step sample.

    Returns:
      (loss, info) with the terms under ``loss/``.
    """
    triple = draws.triple
    sigma_t, sigma_u, sigma_s = (sigmas[bins] for bins in triple)
    sigma_min = jnp.full_like(sigma_t, sigmas[-1])
    x_t = add_noise(plans, sigma_t, draws.ctm_noise)
    x_dsm = add_noise(plans, draws.dsm_sigma, draws.dsm_noise)
    dsm_stop = draws.dsm_sigma if dsm_form == "denoiser" else sigma_min
    branches = [(x_t, sigma_t, sigma_s), (x_dsm, draws.dsm_sigma, dsm_stop)]
    if plan_return_fn is not None and reward_input == "one_step":
        sigma_max = jnp.full_like(sigma_t, sigmas[0])
        branches.append((draws.init_noise, sigma_max, sigma_min))
    elif plan_return_fn is not None and dsm_form == "denoiser":
        branches.append((x_dsm, draws.dsm_sigma, sigma_min))
    x, sigma, stop = (jnp.concatenate(parts) for parts in zip(*branches, strict=True))
    clean = clean_fn(x, sigma, stop, jnp.concatenate([condition] * len(branches)))
    jumped = jnp.split(move_towards(x, clean, sigma, stop), len(branches))
    denoised = jnp.split(clean, len(branches))[1]
    if dsm_form == "jump":
        denoised = jumped[1]

    x_u = jax.lax.stop_gradient(
        solve_teacher(
            teacher_denoise_fn, x_t, triple.t, triple.u, sigmas, max_solver_steps
        )
    )
    ctm = ctm_loss(
        jumped[0],
        frozen_jump_fn,
        x_u,
        sigma_u,
        sigma_s,
        sigma_min=sigma_min,
        distance_fn=distance_fn,
    )
    weights = edm_weight(draws.dsm_sigma, sigma_data, sigma_floor)
    dsm = distance_fn(denoised, plans, weights)
    loss = ctm_weight * ctm + dsm_weight * dsm
    info = {"loss/ctm": ctm, "loss/dsm": dsm}
    if plan_return_fn is not None:
        reward, _ = reward_loss(
            plan_return_fn, condition, jumped[-1], plans, advantage_cap
        )
        loss = loss + reward_weight * reward
        info["loss/reward"] = reward
    return loss, {"loss/total": loss, **info}
