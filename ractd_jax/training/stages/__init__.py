"""The stages: what each one trains, on what, with which loss."""

import functools

from ractd_jax.data.sources import OfflineDataset
from ractd_jax.settings import Settings
from ractd_jax.training.stages.base import (
    Stage,
    base_metadata,
    gather_part,
)
from ractd_jax.training.stages.critic import agent_stage, critic_stage
from ractd_jax.training.stages.inverse_dynamics import inverse_dynamics_stage
from ractd_jax.training.stages.plan_sizes import dimensions
from ractd_jax.training.stages.plans import plan_stage
from ractd_jax.training.stages.reward import reward_stage, split_episodes
from ractd_jax.training.stages.student import (
    predicted_return_range,
    steering_stage,
    student_stage,
)


def make_stage(name: str, settings: Settings, dataset: OfflineDataset) -> Stage:
    """The training of a method that builds on no other: all but ``student`` and
    ``steering``.
    """
    of_their_own = {
        "reward": reward_stage,
        "critic": critic_stage,
        "td3_bc": functools.partial(agent_stage, "td3_bc"),
        "cql": functools.partial(agent_stage, "cql"),
        "inverse_dynamics": inverse_dynamics_stage,
    }
    if name in of_their_own:
        return of_their_own[name](settings, dataset)
    return plan_stage(name, settings, dataset)


__all__ = [
    "Stage",
    "agent_stage",
    "base_metadata",
    "critic_stage",
    "dimensions",
    "gather_part",
    "inverse_dynamics_stage",
    "make_stage",
    "plan_stage",
    "predicted_return_range",
    "reward_stage",
    "split_episodes",
    "steering_stage",
    "student_stage",
]
