"""The student's loss, alpha L_CTM + beta L_DSM + sigma_r L_Reward + kappa L_path."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.diffusion.preconditioning import DenoiseFn, edm_weight
from ractd_jax.losses.ctm import ctm_loss
from ractd_jax.losses.distances import DistanceFn
from ractd_jax.losses.dsm import add_noise
from ractd_jax.losses.reward import reward_loss
from ractd_jax.student.jump import JumpFn, move_towards
from ractd_jax.student.paths import PathPoints
from ractd_jax.student.targets import TimeTriple, solve_teacher

# g(x, sigma, sigma_stop, condition)
CleanFn = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]


class StudentDraws(NamedTuple):
    """The random draws of one student step.

    Attributes:
      triple: bins (t, u, s), each int32 [B].
      ctm_noise: [B, H, D] standard normal.
      dsm_sigma: [B] noise levels.
      dsm_noise: [B, H, D] standard normal.
      init_noise: [B, H, D] x_T of the one-step sample.
      path: [P, ...] points of the teacher's paths, or None to leave their loss out.
    """

    triple: TimeTriple
    ctm_noise: jax.Array
    dsm_sigma: jax.Array
    dsm_noise: jax.Array
    init_noise: jax.Array
    path: PathPoints | None = None


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
    path_weight: jax.typing.ArrayLike = 0.0,
    advantage_cap: jax.typing.ArrayLike | None,
    dsm_form: str,
    reward_input: str,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Thesis eq. 3.7, and L_path, with every branch of the network in one evaluation.

    L_path = mean d(G(x_t, t, sigma_min), x_end) over points x_t of the teacher's paths
    from noise and the plans in which these end. CTM learns long jumps from short ones;
    with few updates its jump from sigma_max stays near the mean of all plans. L_path
    teaches that jump itself.

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
      path_weight: kappa.
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
    # Branches of the trained network: from x at a level to a level, under a condition.
    branches = {
        "ctm": (x_t, sigma_t, sigma_s, condition),
        "dsm": (x_dsm, draws.dsm_sigma, dsm_stop, condition),
    }
    if plan_return_fn is not None and reward_input == "one_step":
        sigma_max = jnp.full_like(sigma_t, sigmas[0])
        branches["reward"] = (draws.init_noise, sigma_max, sigma_min, condition)
    elif plan_return_fn is not None and dsm_form == "denoiser":
        branches["reward"] = (x_dsm, draws.dsm_sigma, sigma_min, condition)
    if draws.path is not None:
        path_stop = jnp.full_like(draws.path.sigma, sigmas[-1])
        branches["path"] = (
            draws.path.start,
            draws.path.sigma,
            path_stop,
            draws.path.condition,
        )
    x, sigma, stop, every = map(jnp.concatenate, zip(*branches.values(), strict=True))
    clean = clean_fn(x, sigma, stop, every)
    ends = np.cumsum([len(branch[0]) for branch in branches.values()])[:-1]

    def by_branch(whole):
        return dict(zip(branches, jnp.split(whole, ends), strict=True))

    jumped = by_branch(move_towards(x, clean, sigma, stop))
    denoised = by_branch(clean)["dsm"] if dsm_form == "denoiser" else jumped["dsm"]

    x_u = jax.lax.stop_gradient(
        solve_teacher(
            teacher_denoise_fn, x_t, triple.t, triple.u, sigmas, max_solver_steps
        )
    )
    ctm = ctm_loss(
        jumped["ctm"],
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
    if draws.path is not None:
        ones = jnp.ones_like(draws.path.sigma)
        path = distance_fn(jumped["path"], draws.path.end, ones)
        loss = loss + path_weight * path
        info["loss/path"] = path
    if plan_return_fn is not None:
        # The released form's DSM branch jumps to sigma_min itself.
        predicted = jumped.get("reward", jumped["dsm"])
        reward, _ = reward_loss(
            plan_return_fn, condition, predicted, plans, advantage_cap
        )
        loss = loss + reward_weight * reward
        info["loss/reward"] = reward
    return loss, {"loss/total": loss, **info}
