"""The student's loss: alpha L_CTM + beta L_DSM + sigma_r L_Reward + kappa L_path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.diffusion.noise import EdmNoise
from ractd_jax.diffusion.preconditioning import DenoiseFn, edm_weight
from ractd_jax.losses.ctm import ctm_loss
from ractd_jax.losses.distances import DistanceFn
from ractd_jax.losses.dsm import add_noise
from ractd_jax.losses.reward import reward_loss
from ractd_jax.student.jump import JumpFn, move_towards
from ractd_jax.student.paths import PathPoints
from ractd_jax.student.targets import TimeTriple, solve_teacher

# g(x, sigma, sigma_stop, condition), the condition a tree of arrays [B, ...]
CleanFn = Callable[[jax.Array, jax.Array, jax.Array, Any], jax.Array]
# R(plans, condition) -> [B]
PlanReturnFn = Callable[[jax.Array, Any], jax.Array]


class StudentFunctions(NamedTuple):
    """The functions that the loss compares.

    Attributes:
      clean: g_theta(x, sigma, sigma_stop, condition), the trained one.
      frozen_jump: G_sg(x, sigma, sigma_stop) for the batch's condition.
      teacher_denoise: the teacher's D(x, sigma) for the batch's condition.
      plan_return: R(plans, condition), or None to leave the reward term out.
    """

    clean: CleanFn
    frozen_jump: JumpFn
    teacher_denoise: DenoiseFn
    plan_return: PlanReturnFn | None = None


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


class StudentCoefficients(NamedTuple):
    """Numbers of the loss, which a compiled program takes as arguments.

    Attributes:
      ctm_weight: alpha.
      dsm_weight: beta.
      reward_weight: sigma_r.
      path_weight: kappa.
      pessimism: k of the ensemble's mean - k std, which ``plan_return`` is made with.
      advantage_cap: see :func:`ractd_jax.losses.reward_loss`; None for no cap, and
        infinity for none in a program that has caps.
    """

    ctm_weight: jax.typing.ArrayLike = 1.0
    dsm_weight: jax.typing.ArrayLike = 1.0
    reward_weight: jax.typing.ArrayLike = 0.0
    path_weight: jax.typing.ArrayLike = 0.0
    pessimism: jax.typing.ArrayLike = 0.0
    advantage_cap: jax.typing.ArrayLike | None = None


class StudentForm(NamedTuple):
    """The choices that a program is compiled for.

    Attributes:
      distance: of plans, from :func:`ractd_jax.losses.distance`.
      max_solver_steps: longest teacher solve in bins.
      dsm_form: what the DSM loss compares with the data. ``denoiser`` is g(x, t, t),
        as Kim et al. (2024) have it. ``jump`` is G(x, t, smin), as in Duan et
        al.'s code: it pulls the jump
        itself to the posterior mean, between the modes.
      reward_input: the clean plan that the reward sees. ``dsm`` is the jump to
        `sigma_min` from the DSM branch's noisy plan, ``one_step`` a one-step sample.
      max_reward_gradient: longest gradient of a plan's return, see
        :func:`ractd_jax.losses.clip_return_gradient`; None for no limit.
    """

    distance: DistanceFn
    max_solver_steps: int = 1
    dsm_form: str = "denoiser"
    reward_input: str = "dsm"
    max_reward_gradient: float | None = None


def student_loss(
    functions: StudentFunctions,
    plans: jax.Array,
    condition: Any,
    draws: StudentDraws,
    sigmas: jax.Array,
    coefficients: StudentCoefficients,
    form: StudentForm,
    edm: EdmNoise,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """RACTD's loss (Duan 2025, eq. 3.7) and L_path, in one evaluation of the network.

    Args:
      functions: networks as functions.
      plans: [B, H, D] clean normalised plans.
      condition: what the networks are conditioned on, a tree of arrays [B, ...].
      draws: the random draws.
      sigmas: [N + 1] noise level of each bin of the triples.
      coefficients: weights of the terms, and the cap.
      form: what is compared with what.
      edm: for the weight lambda of the DSM term.

    Returns:
      (loss, info) with the terms under ``loss/``.
    """
    branches = _branches(functions, plans, condition, draws, sigmas, form)
    jumped, clean = _evaluate(functions.clean, branches)

    # 1. L_CTM = d(G_sg(a, s, smin), G_sg(b, s, smin)), with the student's jump
    #    a = G(x_t, t, s) and the target b = G_sg(x_u, u, s), where the teacher's solver
    #    leads from x_t to x_u. Both are mapped on to sigma_min by the frozen jump, so
    #    that all are compared as clean plans; the gradient reaches a through its input.
    ctm = _ctm_term(functions, jumped["ctm"], branches["ctm"], draws, sigmas, form)

    # 2. L_DSM = lambda(sigma) d(g(x, sigma, sigma), x_0) compares with the data itself.
    #    L_CTM alone is also small for jumps that agree with each other and with nothing
    #    else; this term anchors them.
    denoised = clean["dsm"] if form.dsm_form == "denoiser" else jumped["dsm"]
    dsm = form.distance(denoised, plans, edm_weight(draws.dsm_sigma, edm))
    loss = coefficients.ctm_weight * ctm + coefficients.dsm_weight * dsm
    info = {"loss/ctm": ctm, "loss/dsm": dsm}

    # 3. L_path = d(G(x_t, t, smin), x_end), with x_t and x_end on one path of the
    #    teacher, for conditions of their own. It teaches long jumps directly, which
    #    L_CTM learns from short ones, after many updates.
    if draws.path is not None:
        ones = jnp.ones_like(draws.path.sigma)
        path = form.distance(jumped["path"], draws.path.end, ones)
        loss = loss + coefficients.path_weight * path
        info["loss/path"] = path

    # 4. L_Reward = -R(plan), capped at a gain over the data's own plan. The plan is a
    #    jump to sigma_min. With dsm_form "jump" the DSM branch is already one.
    rate, cap = functions.plan_return, coefficients.advantage_cap
    if rate is not None:
        predicted = jumped.get("reward", jumped["dsm"])
        reward, _ = reward_loss(rate, condition, predicted, plans, cap)
        loss = loss + coefficients.reward_weight * reward
        info["loss/reward"] = reward
    return loss, {"loss/total": loss, **info}


def _ctm_term(functions, jumped, branch, draws, sigmas, form):
    """L_CTM of the jumps [B, H, D] of the branch ``ctm``."""
    x_t, sigma_t, sigma_s, _ = branch
    triple, steps = draws.triple, form.max_solver_steps
    x_u = jax.lax.stop_gradient(
        solve_teacher(functions.teacher_denoise, x_t, triple.t, triple.u, sigmas, steps)
    )
    return ctm_loss(
        jumped,
        functions.frozen_jump,
        x_u,
        sigmas[triple.u],
        sigma_s,
        sigma_min=jnp.full_like(sigma_t, sigmas[-1]),
        distance_fn=form.distance,
    )


def _branches(functions, plans, condition, draws, sigmas, form):
    """Name -> (x, level, level to jump to, condition): the network's inputs."""
    sigma_t, sigma_s = sigmas[draws.triple.t], sigmas[draws.triple.s]
    sigma_min = jnp.full_like(sigma_t, sigmas[-1])
    x_t = add_noise(plans, sigma_t, draws.ctm_noise)
    x_dsm = add_noise(plans, draws.dsm_sigma, draws.dsm_noise)
    # With stop = sigma the network is on its diagonal, the denoiser D(x, sigma).
    dsm_stop = draws.dsm_sigma if form.dsm_form == "denoiser" else sigma_min
    branches = {
        "ctm": (x_t, sigma_t, sigma_s, condition),
        "dsm": (x_dsm, draws.dsm_sigma, dsm_stop, condition),
    }
    if functions.plan_return is not None and form.reward_input == "one_step":
        sigma_max = jnp.full_like(sigma_t, sigmas[0])
        branches["reward"] = (draws.init_noise, sigma_max, sigma_min, condition)
    elif functions.plan_return is not None and form.dsm_form == "denoiser":
        branches["reward"] = (x_dsm, draws.dsm_sigma, sigma_min, condition)
    if draws.path is not None:
        stop = jnp.full_like(draws.path.sigma, sigmas[-1])
        path = draws.path
        branches["path"] = (path.start, path.sigma, stop, path.condition)
    return branches


def _evaluate(clean_fn, branches):
    """({name: jump}, {name: clean estimate}) of all branches, stacked in one batch.

    One wide evaluation is faster than four narrow ones, and its gradient even more so.
    Branches may have different sizes: the path branch has P rows, the others B.
    """
    x, sigma, stop, condition = jax.tree.map(
        lambda *parts: jnp.concatenate(parts), *branches.values()
    )
    clean = clean_fn(x, sigma, stop, condition)
    ends = np.cumsum([len(branch[0]) for branch in branches.values()])[:-1]

    def by_branch(whole):
        return dict(zip(branches, jnp.split(whole, ends), strict=True))

    return by_branch(move_towards(x, clean, sigma, stop)), by_branch(clean)
