"""The reward ensemble, which predicts the return of a plan."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from ractd_jax import losses
from ractd_jax.dimensions import Dimensions
from ractd_jax.methods.base import Info
from ractd_jax.networks import RewardModel, RewardModelConfig
from ractd_jax.settings import Reward, Settings
from ractd_jax.tasks import get_task

# R(observations [B, O], actions [B, A], goals [B, G] or plans [B, H D]) -> [B]
RewardFn = Callable[[jax.Array, jax.Array], jax.Array]
# Targets that are of a state and a goal.
GOAL_TARGETS = ("goal_indicator", "goal_return")


class Rating(Protocol):
    """What predicts the return of plans: :class:`RewardEnsemble` or a critic.

    Attributes:
      num_members: M of its ensemble.
    """

    num_members: int

    def keep(self, params: Any, num_members: int) -> tuple[Rating, Any]:
        """The rating by the first `num_members` members, and its parameters."""

    def plan_return_fn(
        self, params: Any, pessimism: jax.typing.ArrayLike
    ) -> losses.PlanReturnFn:
        """(plans [B, H, D], condition) -> [B] predicted returns."""


class RewardBatch(NamedTuple):
    """Normalised pairs and what they return.

    Attributes:
      observations: [..., O].
      inputs: [..., A] actions, [..., G] goals or [..., H D] plans.
      targets: [...].
    """

    observations: jax.Array
    inputs: jax.Array
    targets: jax.Array


@dataclasses.dataclass(frozen=True)
class RewardEnsemble:
    """Members with their own initial weights and batches, trained together by vmap.

    Attributes:
      network: the network of one member.
      dims: sizes of the plans.
      num_members: M, the length of the parameters' leading axis.
      target: what is predicted, see :class:`ractd_jax.settings.Reward`.
    """

    network: RewardModel
    dims: Dimensions
    num_members: int
    target: str = "return_to_go"

    name = "reward"

    @classmethod
    def from_settings(cls, settings: Settings, dims: Dimensions) -> RewardEnsemble:
        return cls.from_options(settings.reward, dims)

    @classmethod
    def from_options(cls, options: Reward, dims: Dimensions) -> RewardEnsemble:
        """With goals and Fourier features, the distance to the goal is an input too."""
        of_goals = options.target in GOAL_TARGETS
        octaves = options.fourier_octaves
        config = RewardModelConfig(
            options.kind, options.widths, octaves, bool(octaves) and of_goals
        )
        return cls(RewardModel(config), dims, options.num_members, options.target)

    @property
    def _input_size(self) -> int:
        """Size of the network's second input."""
        if self.target == "plan_return":
            return math.prod(self.dims.plan_shape)
        return self.dims.goal if self.target in GOAL_TARGETS else self.dims.action

    def init(self, key: jax.Array) -> Any:
        def member(member_key):
            sizes = self.dims.observation, self._input_size
            inputs = [jnp.zeros((1, size)) for size in sizes]
            return self.network.init(member_key, *inputs)["params"]

        return jax.vmap(member)(jax.random.split(key, self.num_members))

    def draw(self, key: jax.Array, batch_size: int) -> tuple:
        return ()

    def loss(
        self,
        params: Any,
        target_params: Any,
        frozen: Any,
        batch: RewardBatch,
        draws: tuple,
    ) -> tuple[jax.Array, Info]:
        """See :meth:`Method.loss`; the leaves of a batch are [M, B, ...]."""
        del target_params, frozen, draws

        def member(params, *inputs):
            return self.network.apply({"params": params}, *inputs)

        predictions = jax.vmap(member)(params, batch.observations, batch.inputs)
        loss = losses.regression_loss(predictions, batch.targets)
        return loss, {"loss/mse": loss / self.num_members}

    def keep(self, params: Any, num_members: int) -> tuple[RewardEnsemble, Any]:
        """The first `num_members` members, and their parameters."""
        few = jax.tree.map(lambda leaf: leaf[:num_members], params)
        return dataclasses.replace(self, num_members=num_members), few

    def reward_fn(self, params: Any, pessimism: jax.typing.ArrayLike) -> RewardFn:
        """The ensemble's mean - pessimism * std; `params` may have any M."""

        def reward_fn(observations, inputs):
            def member(params):
                return self.network.apply({"params": params}, observations, inputs)

            return losses.pessimistic_return(jax.vmap(member)(params), pessimism)

        return reward_fn

    def plan_return_fn(
        self, params: Any, pessimism: jax.typing.ArrayLike
    ) -> losses.PlanReturnFn:
        """(plans [B, H, D], condition) -> [B] predicted returns.

        With target ``return_to_go`` the return of the first action, with
        ``plan_return`` of the whole plan, and of goals the sum over the plan's states.
        Plans are clipped to the data's range first, as the planner clips them, so that
        nothing is gained beyond it.
        """
        reward_fn = self.reward_fn(params, pessimism)
        if self.target in GOAL_TARGETS:
            return of_states_and_goal(reward_fn, self.dims)
        if self.target == "plan_return":
            return of_whole_plan(reward_fn, self.dims)
        return of_first_action(reward_fn)


def of_first_action(reward_fn: RewardFn) -> losses.PlanReturnFn:
    """R(latest observation, first action) of plans of actions."""

    def rate(plans, condition):
        latest = condition["observations"][:, -1]
        return reward_fn(latest, jnp.clip(plans[:, 0], -1.0, 1.0))

    return rate


def of_whole_plan(reward_fn: RewardFn, dims: Dimensions) -> losses.PlanReturnFn:
    """R(state that a plan begins in, the plan)."""

    def rate(plans, condition):
        return reward_fn(*whole_plan(dims, jnp.clip(plans, -1.0, 1.0), condition))

    return rate


def whole_plan(dims: Dimensions, plans, condition):
    """(states [B, O] that plans begin in, plans [B, H D]), of numpy or JAX arrays."""
    if dims.plans_states:
        first = condition["start"]
    else:
        first = condition["observations"][:, -1]
    return first, plans.reshape(plans.shape[0], math.prod(dims.plan_shape))


def of_states_and_goal(reward_fn: RewardFn, dims: Dimensions) -> losses.PlanReturnFn:
    """The sum of R(state, goal) over a plan's states."""

    def rate(plans, condition):
        goals = get_task(dims.family).goal_of(condition["goal"], dims.goal)
        goals = jnp.repeat(goals, dims.horizon, axis=0)
        states = jnp.clip(plans, -1.0, 1.0).reshape(-1, dims.observation)
        return reward_fn(states, goals).reshape(-1, dims.horizon).sum(axis=-1)

    return rate
