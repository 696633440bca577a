"""One file for one method: parameters, randomness, loss, sampler.

=====================  ===========================================================
:mod:`.edm`            the EDM teacher
:mod:`.ddpm`           discrete-time diffusion
:mod:`.ctm`            the one-step student, RACTD
:mod:`.reward`         the reward ensemble
:mod:`.critic`         critics: IQL and SARSA
:mod:`.steering`       noise steering of a frozen student
:mod:`.bc`             behaviour cloning
:mod:`.td3_bc`         TD3+BC
:mod:`.discrete`       cloning and CQL of discrete actions
:mod:`.inverse_dynamics`  actions between states
=====================  ===========================================================
"""

from ractd_jax.methods.base import (
    Method,
    PlanBatch,
    PlanMethod,
    Sampler,
    edm_noise,
    init_noise_scale,
    plan_distance,
)
from ractd_jax.methods.bc import BehaviourCloning
from ractd_jax.methods.critic import Critic, TransitionBatch
from ractd_jax.methods.ctm import CtmStudent, student_coefficients
from ractd_jax.methods.ddpm import Ddpm
from ractd_jax.methods.denoisers import DenoiserNetwork, make_network
from ractd_jax.methods.discrete import DiscreteCloning, DiscreteCql
from ractd_jax.methods.edm import EdmTeacher
from ractd_jax.methods.inverse_dynamics import InverseDynamicsMethod, PairBatch
from ractd_jax.methods.reward import (
    GOAL_TARGETS,
    Rating,
    RewardBatch,
    RewardEnsemble,
    of_first_action,
    of_states_and_goal,
    of_whole_plan,
    whole_plan,
)
from ractd_jax.methods.steering import NoiseSteering
from ractd_jax.methods.td3_bc import Td3Bc

# What makes plans, by the name of its settings and checkpoints.
PLAN_METHODS: dict[str, type[PlanMethod]] = {
    method.name: method
    for method in (
        EdmTeacher,
        Ddpm,
        CtmStudent,
        NoiseSteering,
        BehaviourCloning,
        Td3Bc,
        DiscreteCloning,
        DiscreteCql,
    )
}


def register_plan_method(method: type[PlanMethod]) -> None:
    """Makes a method known to this process, so that it is trained and planned with."""
    PLAN_METHODS[method.name] = method


__all__ = [
    "GOAL_TARGETS",
    "PLAN_METHODS",
    "BehaviourCloning",
    "Critic",
    "CtmStudent",
    "Ddpm",
    "DenoiserNetwork",
    "DiscreteCloning",
    "DiscreteCql",
    "EdmTeacher",
    "InverseDynamicsMethod",
    "Method",
    "PairBatch",
    "NoiseSteering",
    "PlanBatch",
    "PlanMethod",
    "Rating",
    "RewardBatch",
    "RewardEnsemble",
    "Sampler",
    "Td3Bc",
    "TransitionBatch",
    "edm_noise",
    "init_noise_scale",
    "make_network",
    "of_first_action",
    "of_states_and_goal",
    "of_whole_plan",
    "plan_distance",
    "register_plan_method",
    "student_coefficients",
    "whole_plan",
]
