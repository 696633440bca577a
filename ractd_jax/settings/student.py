"""The section about the student: the loss's terms and what they compare."""

from __future__ import annotations

from ractd_jax.settings.models import Optimizer
from ractd_jax.settings.options import option, section
from ractd_jax.settings.trainings import DISTANCES


@section
class Student:
    """Training of the student: alpha CTM + beta DSM + sigma_r reward + kappa path."""

    num_steps: int = option(2_000, "Optimiser steps.", positive=True)
    batch_size: int = option(128, "Plans per step over all devices.", positive=True)
    distance: str = option(
        "squared", "Distance of the CTM, DSM and path losses.", choices=DISTANCES
    )
    dropout_rate: float = option(
        0.0,
        "Dropout rate of the trained network; frozen networks run without.",
        minimum=0.0,
        below=1.0,
    )
    ctm_weight: float = option(
        50.0, "alpha, weight of the CTM loss (Duan et al., 2025: 1)."
    )
    dsm_weight: float = option(
        5.0, "beta, weight of the DSM loss (Duan et al., 2025: 1)."
    )
    reward_weight: float = option(
        1.0, "sigma_r, weight of the reward loss; 0 is CTD, the student without it."
    )
    path_weight: float = option(
        0.0,
        "kappa, weight of the path loss, which regresses jumps from points of the "
        "teacher's own paths on where those end; 0 for none (Duan et al., 2025).",
        minimum=0.0,
    )
    num_paths: int = option(
        65_536,
        "Points of the path loss, each of a path of its own, solved before the "
        "training.",
        positive=True,
    )
    path_batch_size: int = option(
        256, "Points per step of the path loss over all devices.", positive=True
    )
    path_steps: int = option(10, "Heun steps of a path.", positive=True)
    path_start_share: float = option(
        0.75,
        "Share of the points that are the noise x_T itself; the others lie within a "
        "path.",
        minimum=0.0,
        maximum=1.0,
    )
    path_condition_noise: float = option(
        0.0,
        "Standard deviation of the noise on the normalised conditions of every second "
        "path, which covers states off the data that a student may reach.",
        minimum=0.0,
    )
    path_temperature: float = option(
        0.0,
        "Every second path starts from noise scaled by a number drawn from this one to "
        "1, so that one step is faithful at those temperatures, too.",
        minimum=0.0,
        maximum=1.0,
    )
    guidance_weight: float = option(
        1.0,
        "Weight of classifier-free guidance by the elements of plans in the teacher "
        "that is distilled, see evaluation.guidance_weight.",
        minimum=0.0,
    )
    dsm_form: str = option(
        "denoiser",
        "What the DSM loss compares with data: g(x, t, t) (denoiser, as Kim et al., "
        "2024) or the jump to sigma_min (jump, as in Duan et al.'s code).",
        choices=("denoiser", "jump"),
    )
    num_scales: int | None = option(
        20,
        "N of the student's time grid; None takes diffusion.num_scales (Duan et al.'s "
        "code).",
        positive=True,
    )
    reward_input: str = option(
        "dsm",
        "Clean plan that the reward sees: the DSM branch's (dsm) or a one-step sample "
        "(one_step).",
        choices=("dsm", "one_step"),
    )
    reward_unit: str = option(
        "return",
        "Unit of the predicted return in reward_weight and advantage_cap: the "
        "normalised return itself, or its standard deviation over the teacher's plans "
        "of one state (spread), so that a weight means the same for every reward model "
        "and critic.",
        choices=("return", "spread"),
    )
    reward_gradient_clip: float | None = option(
        None,
        "Longest gradient of one plan's predicted return, in reward_unit per unit of "
        "the normalised plan; None for no limit.",
        minimum=0.0,
    )
    path_candidates: int = option(
        1,
        "N: more than 1 regresses one step on the best, by predicted "
        "return, of N one-step plans of the student in --start (best-of-N "
        "distillation), instead of on the teacher's paths.",
        positive=True,
    )
    candidate_temperature: float = option(
        1.0, "Scale of the noise of path_candidates' plans.", minimum=0.0
    )
    pessimism: float = option(
        4.0,
        "k of reward = mean - k std over the members of the reward ensemble or critic.",
    )
    reward_temperature: float = option(
        1.0,
        "The noise of one_step is scaled by a number drawn from this one to 1, so that "
        "the reward acts at the temperatures that plans are sampled at.",
        minimum=0.0,
        maximum=1.0,
    )
    advantage_cap: float | None = option(
        0.03,
        "Most that an action may be predicted to gain over the data's own action in "
        "the same state, in units of the normalised return; None for no cap (Duan et "
        "al., 2025).",
        minimum=0.0,
    )
    num_members: int | None = option(
        None,
        "Members of the ensemble to use, the first ones; None for all.",
        positive=True,
    )
    teacher_weights: str = option(
        "ema",
        "Teacher weights to distil from (Duan et al.'s code: raw).",
        choices=("ema", "raw"),
    )
    target_ema: float = option(
        0.0,
        "Decay of the target network's EMA; 0 is a stop-gradient copy (Duan et al.'s "
        "code).",
        minimum=0.0,
        below=1.0,
    )
    max_solver_steps: int = option(
        1, "Longest teacher solve t -> u, in grid bins (Heun steps).", positive=True
    )
    optimizer: Optimizer = Optimizer(weight_decay=1e-4)
