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
from ractd_jax.methods.reward import RewardFn, of_first_action
from ractd_jax.networks import RewardModel, RewardModelConfig
from ractd_jax.normalizers import Changes
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
    """Pairs of Q(s, a) and V(s), learned on the data's actions only.

    L_V = E ``|tau - 1(q < V(s))| (q - V(s))^2`` with q = Q^-(s, a) of the target
    network, and L_Q = E (r + gamma (1 - terminal) V(s') - Q(s, a))^2. With tau > 1/2,
    V is nearer to the best of the data's actions than to their mean (IQL, Kostrikov et
    al., 2022). With tau = 1/2 it is the value of the policies that recorded the data
    (expected SARSA).

    The pairs have their own initial weights, batches and targets, so that they disagree
    where there is no data (Ghasemipour et al., 2022). Pessimism takes the place of
    IQL's minimum over two networks.

    Attributes:
      network: the network of Q and of V, of one pair.
      dims: sizes of the plans.
      num_members: M pairs, the length of the parameters' leading axis.
      expectile: tau.
      discount: gamma.
      offset: what the networks' outputs are relative to, the data's mean return-to-go.
      changes: units of the plans of states that it rates, where they are relative.
    """

    network: RewardModel
    dims: Dimensions
    num_members: int
    expectile: float
    discount: float
    offset: float = 0.0
    # Arrays cannot be compared, as jit compares methods.
    changes: Changes | None = dataclasses.field(default=None, compare=False)

    name = "critic"

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        dims: Dimensions,
        offset: float = 0.0,
        changes: Changes | None = None,
    ) -> Critic:
        """Raises ConfigError for plans to a goal, which the values do not know."""
        if dims.goal:
            raise ConfigError(
                "config.plan.goal_size: expected 0 for a critic of plans of states, "
                f"found {dims.goal}"
            )
        options = settings.critic
        return cls(
            RewardModel(RewardModelConfig("layer_norm", options.widths)),
            dims,
            options.num_members,
            options.expectile if options.target == "iql" else 0.5,
            options.discount,
            offset,
            changes,
        )

    def init(self, key: jax.Array) -> Any:
        state = jnp.zeros((1, self.dims.observation))
        action = jnp.zeros((1, self.dims.action))

        def member(member_key):
            q_key, v_key = jax.random.split(member_key)
            return {
                "q": self.network.init(q_key, state, action)["params"],
                "v": self.network.init(v_key, state, action[:, :0])["params"],
            }

        return jax.vmap(member)(jax.random.split(key, self.num_members))

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
        """See :meth:`Method.loss`; the leaves of a batch are [M, B, ...]."""
        del frozen, draws
        value, q, largest = jax.vmap(self._member_loss)(params, target_params, batch)
        # Sums: each member has the gradient that it would have alone.
        return value.sum() + q.sum(), {
            "loss/value": value.mean(),
            "loss/q": q.mean(),
            "critic/largest_q": largest.max(),
        }

    def _member_loss(self, params, target_params, batch: TransitionBatch):
        """(L_V, L_Q, max |Q|) of one pair."""
        # 1. V follows the target network's values of the data's actions.
        targets = self._q(target_params, batch.observations, batch.actions)
        values = self._v(params, batch.observations)
        value_loss = losses.expectile_loss(values, targets, self.expectile)
        # 2. Q follows the reward and V. What comes after a terminal is worth nothing;
        #    after a time limit the episode would have gone on, and V says how.
        following = self._v(params, batch.next_observations) * (1.0 - batch.terminals)
        targets = batch.rewards + self.discount * following
        found = self._q(params, batch.observations, batch.actions)
        gap = found - jax.lax.stop_gradient(targets)
        return value_loss, jnp.mean(jnp.square(gap)), jnp.abs(found).max()

    def _q(self, params, observations, actions):
        found = self.network.apply({"params": params["q"]}, observations, actions)
        return found + self.offset

    def _v(self, params, observations):
        nothing = observations[:, :0]
        found = self.network.apply({"params": params["v"]}, observations, nothing)
        return found + self.offset

    def values(
        self, params: Any, observations: jax.Array, actions: jax.Array
    ) -> jax.Array:
        """[M, B] Q_i(s, a), in units of the values."""
        return jax.vmap(lambda member: self._q(member, observations, actions))(params)

    def advantages(
        self, params: Any, observations: jax.Array, actions: jax.Array
    ) -> jax.Array:
        """[B] A(s, a), the mean over members of Q - V."""
        values = jax.vmap(lambda member: self._v(member, observations))(params)
        return jnp.mean(self.values(params, observations, actions) - values, axis=0)

    def keep(self, params: Any, num_members: int) -> tuple[Critic, Any]:
        """The first `num_members` members, and their parameters."""
        few = jax.tree.map(lambda leaf: leaf[:num_members], params)
        return dataclasses.replace(self, num_members=num_members), few

    def reward_fn(self, params: Any, pessimism: jax.typing.ArrayLike) -> RewardFn:
        """Q as the members' mean - pessimism * std."""

        def reward_fn(observations, actions):
            members = self.values(params, observations, actions)
            return losses.pessimistic_return(members, pessimism)

        return reward_fn

    def plan_return_fn(
        self, params: Any, pessimism: jax.typing.ArrayLike
    ) -> losses.PlanReturnFn:
        """(plans [B, H, D], condition) -> [B] predicted returns.

        Of plans of actions Q of the first one, of plans of states the mean of V over
        the states after the first.
        """
        if self.dims.joint:
            raise ConfigError(
                "config.plan.kind: expected 'actions' or 'states' for a critic that "
                "rates plans, found 'joint'"
            )
        if not self.dims.plans_states:
            return of_first_action(self.reward_fn(params, pessimism))

        def rate(plans, condition):
            states = jnp.clip(plans, -1.0, 1.0)
            if self.changes is not None:
                states = self.changes.decode(states, condition["start"])
                # So that nothing is gained beyond the data's range.
                limit = self.changes.limit
                states = jnp.clip(states, -limit, limit)
            # The first state is what all plans share.
            states = states[:, 1:].reshape(-1, self.dims.observation)
            members = jax.vmap(lambda member: self._v(member, states))(params)
            values = losses.pessimistic_return(members, pessimism)
            return values.reshape(plans.shape[0], plans.shape[1] - 1).mean(axis=-1)

        return rate
