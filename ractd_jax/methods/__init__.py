"""One file for one method: parameters, randomness, loss, sampler.

=====================  ===========================================================
:mod:`.edm`            the EDM teacher
:mod:`.ddpm`           discrete-time diffusion
:mod:`.ctm`            the one-step student, RACTD
:mod:`.reward`         the reward ensemble
:mod:`.bc`             behaviour cloning
:mod:`.inverse_dynamics`  actions between states
=====================  ===========================================================
"""

from ractd_jax.methods.base import (
    DenoiserNetwork,
    Method,
    PlanBatch,
    PlanMethod,
    Sampler,
    edm_noise,
    init_noise_scale,
    make_network,
    plan_distance,
)
from ractd_jax.methods.bc import BehaviourCloning
from ractd_jax.methods.ctm import CtmStudent, student_coefficients
from ractd_jax.methods.ddpm import Ddpm
from ractd_jax.methods.edm import EdmTeacher
from ractd_jax.methods.inverse_dynamics import InverseDynamicsMethod, PairBatch
from ractd_jax.methods.reward import RewardBatch, RewardEnsemble, plan_return_fn

# What makes plans, by the name of its settings and checkpoints.
PLAN_METHODS: dict[str, type[PlanMethod]] = {
    method.name: method for method in (EdmTeacher, Ddpm, CtmStudent, BehaviourCloning)
}


def register_plan_method(method: type[PlanMethod]) -> None:
    """Makes a method known to this process, so that it is trained and planned with."""
    PLAN_METHODS[method.name] = method


__all__ = [
    "PLAN_METHODS",
    "BehaviourCloning",
    "CtmStudent",
    "Ddpm",
    "DenoiserNetwork",
    "EdmTeacher",
    "InverseDynamicsMethod",
    "Method",
    "PairBatch",
    "PlanBatch",
    "PlanMethod",
    "RewardBatch",
    "RewardEnsemble",
    "Sampler",
    "edm_noise",
    "init_noise_scale",
    "make_network",
    "plan_distance",
    "plan_return_fn",
    "register_plan_method",
    "student_coefficients",
]
