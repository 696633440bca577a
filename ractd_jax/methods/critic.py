"""Critics: the value of an action by temporal differences, IQL's or SARSA's."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ractd_jax import losses
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.methods.base import Info
from ractd_jax.methods.reward import RewardFn, plan_return_fn
from ractd_jax.networks import RewardModel, RewardModelConfig
from ractd_jax.settings import Settings


class TransitionBatch(NamedTuple):
    """Normalised transitions.

    Attributes:
      observations: [B, O].
      actions: [B, A].
      rewards: [B], in units of the values.
      next_observations: [B, O]; of no meaning after a terminal.
      terminals: [B] bool, the environment ended the episode. A time limit is none.
    """

    observations: jax.Array
    actions: jax.Array
    rewards: jax.Array
    next_observations: jax.Array
    terminals: jax.Array


@dataclasses.dataclass(frozen=True)
class Critic:
    """Q(s, a) of several members and V(s), both learned on the data's actions only.

    L_V = E |tau - 1(q < V(s))| (q - V(s))^2 with q from the target network, and
    L_Q = E sum_i (r + gamma (1 - terminal) V(s') - Q_i(s, a))^2. With tau > 1/2, V is
    nearer to the best of the data's actions than to their mean, and q is the least of
    the members (IQL, Kostrikov et al., 2022). With tau = 1/2 and the members' mean it
    is the value of the policies that recorded the data (expected SARSA).

    Attributes:
      network: the network of Q, of one member, and of V.
      dims: sizes of the plans.
      num_members: M of Q.
      expectile: tau.
      discount: gamma.
      offset: what the networks' outputs are relative to, the data's mean return-to-go.
      takes_least: whether q is the least of the members, not their mean.
    """

    network: RewardModel
    dims: Dimensions
    num_members: int
    expectile: float
    discount: float
    offset: float = 0.0
    takes_least: bool = True

    name = "critic"

    @classmethod
    def from_settings(
        cls, settings: Settings, dims: Dimensions, offset: float = 0.0
    ) -> Critic:
        """Raises ConfigError for plans of states, which have no actions."""
        if dims.plans_states:
            raise ConfigError(
                "config.plan.kind: expected 'actions' for a critic, found 'states'"
            )
        options = settings.critic
        is_iql = options.target == "iql"
        return cls(
            RewardModel(RewardModelConfig("layer_norm", options.widths)),
            dims,
            options.num_members,
            options.expectile if is_iql else 0.5,
            options.discount,
            offset,
            takes_least=is_iql,
        )

    def init(self, key: jax.Array) -> Any:
        q_key, v_key = jax.random.split(key)
        state = jnp.zeros((1, self.dims.observation))

        def member(member_key):
            action = jnp.zeros((1, self.dims.action))
            return self.network.init(member_key, state, action)["params"]

        return {
            "q": jax.vmap(member)(jax.random.split(q_key, self.num_members)),
            "v": self.network.init(v_key, state, state[:, :0])["params"],
        }

    def draw(self, key: jax.Array, batch_size: int) -> tuple:
        return ()

    def loss(
        self,
        params: Any,
        target_params: Any,
        frozen: Any,
        batch: TransitionBatch,
        draws: tuple,
    ) -> tuple[jax.Array, Info]:
        """See :meth:`Method.loss`."""
        del frozen, draws
        # 1. V follows the target network's values of the data's actions.
        found = self.q(target_params, batch.observations, batch.actions)
        values = self.state_values(params, batch.observations)
        value_loss = losses.expectile_loss(values, found, self.expectile)
        # 2. Q follows the reward and V. What comes after a terminal is worth nothing;
        #    after a time limit the episode would have gone on, and V says how.
        following = self.state_values(params, batch.next_observations)
        following = jax.lax.stop_gradient(following) * (1.0 - batch.terminals)
        targets = batch.rewards + self.discount * following
        found = self.values(params, batch.observations, batch.actions)
        q_loss = losses.regression_loss(found, jnp.broadcast_to(targets, found.shape))
        return value_loss + q_loss, {
            "loss/value": value_loss,
            "loss/q": q_loss / self.num_members,
            "critic/largest_q": jnp.abs(found).max(),
        }

    def values(
        self, params: Any, observations: jax.Array, actions: jax.Array
    ) -> jax.Array:
        """[M, B] Q_i(s, a), in units of the values."""

        def member(params):
            return self.network.apply({"params": params}, observations, actions)

        return jax.vmap(member)(params["q"]) + self.offset

    def q(self, params: Any, observations: jax.Array, actions: jax.Array) -> jax.Array:
        """[B] q(s, a) of the members."""
        members = self.values(params, observations, actions)
        return members.min(axis=0) if self.takes_least else members.mean(axis=0)

    def state_values(self, params: Any, observations: jax.Array) -> jax.Array:
        """[B] V(s)."""
        found = self.network.apply(
            {"params": params["v"]}, observations, observations[:, :0]
        )
        return found + self.offset

    def advantages(
        self, params: Any, observations: jax.Array, actions: jax.Array
    ) -> jax.Array:
        """[B] A(s, a) = q - V(s)."""
        found = self.q(params, observations, actions)
        return found - self.state_values(params, observations)

    def keep(self, params: Any, num_members: int) -> tuple[Critic, Any]:
        """The critic of the first `num_members` members, and its parameters."""
        few = jax.tree.map(lambda leaf: leaf[:num_members], params["q"])
        method = dataclasses.replace(self, num_members=num_members)
        return method, {**params, "q": few}

    def reward_fn(self, params: Any, pessimism: jax.typing.ArrayLike) -> RewardFn:
        """q(s, a), the members' least or mean, which is as pessimistic as it learned.

        `pessimism` is for ensembles of reward models, whose targets are not their own
        predictions.
        """
        del pessimism
        return lambda observations, actions: self.q(params, observations, actions)

    def plan_return_fn(
        self, params: Any, pessimism: jax.typing.ArrayLike
    ) -> losses.PlanReturnFn:
        """See :func:`ractd_jax.methods.plan_return_fn`."""
        return plan_return_fn(self.reward_fn(params, pessimism), self.dims)
