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
from ractd_jax.student.jump import JumpFn
from ractd_jax.student.targets import TimeTriple, solve_teacher

ConditionedJumpFn = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]


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
    jump_fn: ConditionedJumpFn,
    frozen_jump_fn: JumpFn,
    teacher_denoise_fn: DenoiseFn,
    reward_fn: Callable[[jax.Array, jax.Array], jax.Array] | None,
    plans: jax.Array,
    condition: jax.Array,
    observations: jax.Array,
    draws: StudentDraws,
    sigmas: jax.Array,
    *,
    distance_fn: DistanceFn,
    sigma_data: float,
    max_solver_steps: int,
    ctm_weight: jax.typing.ArrayLike,
    dsm_weight: jax.typing.ArrayLike,
    reward_weight: jax.typing.ArrayLike,
    reward_input: str,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Thesis eq. 3.7 with every branch of the trained network in one evaluation.

    Args:
      jump_fn: G_theta(x, sigma, sigma_stop, condition), the one with a gradient.
      frozen_jump_fn: G_sg(x, sigma, sigma_stop) for `condition`.
      teacher_denoise_fn: the teacher's D(x, sigma) for `condition`.
      reward_fn: R(observations, actions) -> [B], or None to leave the term out.
      plans: [B, H, D] clean normalised plans.
      condition: [B, C] what the networks are conditioned on.
      observations: [B, O] normalised current observations, for the reward.
      draws: the random draws.
      sigmas: [N + 1] noise level of each bin.
      distance_fn: distance of the CTM and the DSM loss.
      sigma_data: standard deviation of the data.
      max_solver_steps: longest teacher solve in bins.
      ctm_weight: alpha.
      dsm_weight: beta.
      reward_weight: sigma_r.
      reward_input: ``dsm`` or ``one_step``, the clean plan that the reward sees.

    Returns:
      (loss, info) with the terms under ``loss/``.
    """
    triple = draws.triple
    sigma_t, sigma_u, sigma_s = (sigmas[bins] for bins in triple)
    sigma_min = jnp.full_like(sigma_t, sigmas[-1])
    x_t = add_noise(plans, sigma_t, draws.ctm_noise)
    x_dsm = add_noise(plans, draws.dsm_sigma, draws.dsm_noise)
    branches = [(x_t, sigma_t, sigma_s), (x_dsm, draws.dsm_sigma, sigma_min)]
    if reward_fn is not None and reward_input == "one_step":
        sigma_max = jnp.full_like(sigma_t, sigmas[0])
        branches.append((draws.init_noise, sigma_max, sigma_min))
    stacked = [jnp.concatenate(parts) for parts in zip(*branches, strict=True)]
    conditions = jnp.concatenate([condition] * len(branches))
    outputs = jnp.split(jump_fn(*stacked, conditions), len(branches))
    at_stop, denoised = outputs[:2]

    x_u = jax.lax.stop_gradient(
        solve_teacher(
            teacher_denoise_fn, x_t, triple.t, triple.u, sigmas, max_solver_steps
        )
    )
    ctm = ctm_loss(
        at_stop,
        frozen_jump_fn,
        x_u,
        sigma_u,
        sigma_s,
        sigma_min=sigma_min,
        distance_fn=distance_fn,
    )
    dsm = distance_fn(denoised, plans, edm_weight(draws.dsm_sigma, sigma_data))
    loss = ctm_weight * ctm + dsm_weight * dsm
    info = {"loss/ctm": ctm, "loss/dsm": dsm}
    if reward_fn is not None:
        reward, _ = reward_loss(reward_fn, observations, outputs[-1])
        loss = loss + reward_weight * reward
        info["loss/reward"] = reward
    return loss, {"loss/total": loss, **info}
