"""One file for one method: parameters, randomness, loss, sampler.

====================  ==================================================
``edm``               the EDM teacher
``ddpm``              discrete-time diffusion
``ctm``               the one-step student, RACTD
``reward``            the reward ensemble
``critic``            critics: IQL and SARSA
``steering``          noise steering of a frozen student
``bc``                behaviour cloning
``td3_bc``            TD3+BC
``discrete``          cloning and CQL of discrete actions
``inverse_dynamics``  actions between states
====================  ==================================================
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
