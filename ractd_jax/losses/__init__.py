"""Losses as pure functions of arrays and callables."""

from ractd_jax.losses.ctm import ctm_loss
from ractd_jax.losses.ddpm import ddpm_loss
from ractd_jax.losses.distances import DISTANCES, DistanceFn, distance
from ractd_jax.losses.dsm import add_noise, dsm_loss
from ractd_jax.losses.reward import (
    clip_return_gradient,
    expectile_loss,
    pessimistic_return,
    regression_loss,
    reward_loss,
)
from ractd_jax.losses.student import (
    CleanFn,
    PlanReturnFn,
    StudentCoefficients,
    StudentDraws,
    StudentForm,
    StudentFunctions,
    student_loss,
)

__all__ = [
    "DISTANCES",
    "CleanFn",
    "DistanceFn",
    "PlanReturnFn",
    "StudentCoefficients",
    "StudentDraws",
    "StudentForm",
    "StudentFunctions",
    "add_noise",
    "clip_return_gradient",
    "ctm_loss",
    "ddpm_loss",
    "distance",
    "dsm_loss",
    "expectile_loss",
    "pessimistic_return",
    "regression_loss",
    "reward_loss",
    "student_loss",
]
