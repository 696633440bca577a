"""TD3+BC (Fujimoto and Gu, 2021): the baseline that needs no planner.

A deterministic policy pi(s) that maximises a critic of itself and stays near the data:

    L_pi = -alpha Q_1(s, pi(s)) / mean |Q| + |pi(s) - a|^2
    L_Q  = sum_i (Q_i(s, a) - r - gamma (1 - terminal) min_j Q^-_j(s', a'))^2

with a' = pi^-(s') and clipped noise, and target networks Q^-, pi^-. Both are updated at
every step, where the paper updates the policy at every second one; networks have
LayerNorm, which keeps such critics from diverging (Tarasov et al., 2023). The mean |Q|
is that of a device's share of the batch, so that curves depend on the number of devices
here, other than in every other method.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.methods.base import (
    Info,
    PlanMethod,
    Sampler,
    check_one_step,
    check_transitions,
)
from ractd_jax.methods.critic import TransitionBatch
from ractd_jax.networks import ActorMLP, RewardModel, RewardModelConfig
from ractd_jax.settings import Settings


class Td3BcDraws(NamedTuple):
    """Draws of a step: [B, A] standard normal, of the target actions."""

    noise: jax.Array


@dataclasses.dataclass(frozen=True)
class Td3Bc(PlanMethod):
    """A policy and its two critics; a plan is its action, for horizon 1.

    Attributes:
      actor: the policy's network.
      critic: the network of Q, of one critic.
      alpha: weight of the value.
      discount: gamma.
      noise: standard deviation of the noise on target actions.
      noise_clip: its largest size.
    """

    actor: ActorMLP
    critic: RewardModel
    alpha: float
    discount: float
    noise: float
    noise_clip: float

    name = "td3_bc"
    is_random = False

    @classmethod
    def from_settings(cls, settings: Settings, dims: Dimensions) -> Td3Bc:
        """Raises ConfigError for plans of more than one action, or of states."""
        if dims.ends or dims.horizon > 1:
            raise ConfigError(
                "config.plan.horizon: expected 1 and plans of actions for TD3+BC, "
                f"found {dims.horizon}"
            )
        check_transitions(dims, "TD3+BC")
        options = settings.td3_bc
        config = RewardModelConfig("layer_norm", options.widths)
        actor = ActorMLP(dims.action, options.widths)
        return cls(
            network=actor,
            dims=dims,
            actor=actor,
            critic=RewardModel(config),
            alpha=options.alpha,
            discount=options.discount,
            noise=options.noise,
            noise_clip=options.noise_clip,
        )

    def init(self, key: jax.Array) -> Any:
        actor_key, critic_key = jax.random.split(key)
        state = jnp.zeros((1, self.dims.condition))
        action = jnp.zeros((1, self.dims.action))

        def critic(key):
            return self.critic.init(key, state, action)["params"]

        return {
            "actor": self.actor.init(actor_key, state)["params"],
            "critics": jax.vmap(critic)(jax.random.split(critic_key)),
        }

    def act(self, params: Any, observations: jax.Array) -> jax.Array:
        """[B, A] pi(s)."""
        return self.actor.apply({"params": params["actor"]}, observations)

    def values(
        self, params: Any, observations: jax.Array, actions: jax.Array
    ) -> jax.Array:
        """[2, B] Q_i(s, a)."""

        def value(params):
            return self.critic.apply({"params": params}, observations, actions)

        return jax.vmap(value)(params["critics"])

    def draw(self, key: jax.Array, batch_size: int) -> Td3BcDraws:
        return Td3BcDraws(jax.random.normal(key, (batch_size, self.dims.action)))

    def loss(
        self,
        params: Any,
        target_params: Any,
        frozen: Any,
        batch: TransitionBatch,
        draws: Td3BcDraws,
    ) -> tuple[jax.Array, Info]:
        """See :meth:`Method.loss`."""
        del frozen
        noise = jnp.clip(self.noise * draws.noise, -self.noise_clip, self.noise_clip)
        following = batch.next_observations
        action = jnp.clip(self.act(target_params, following) + noise, -1.0, 1.0)
        after = self.values(target_params, following, action).min(axis=0)
        targets = batch.rewards + self.discount * (1.0 - batch.terminals) * after
        found = self.values(params, batch.observations, batch.actions)
        critic_loss = jnp.mean(jnp.square(found - targets), axis=1).sum()

        # The policy's gradient reaches the critics' inputs, not their parameters.
        frozen_critics = {**params, "critics": jax.lax.stop_gradient(params["critics"])}
        acted = self.act(params, batch.observations)
        value = self.values(frozen_critics, batch.observations, acted)[0]
        scale = jax.lax.stop_gradient(jnp.abs(value).mean())
        cloning = jnp.mean(jnp.square(acted - batch.actions))
        actor_loss = -self.alpha * value.mean() / scale + cloning
        return critic_loss + actor_loss, {
            "loss/q": critic_loss / 2,
            "loss/actor": actor_loss,
            "loss/cloning": cloning,
            "critic/largest_q": jnp.abs(found).max(),
        }

    def sampler(self, num_steps: int = 1, temperature: float = 1.0) -> Sampler:
        """The policy's action, without noise.

        Raises:
          ValueError: more than one step, or a temperature below 0.
        """
        check_one_step(self.name, num_steps, temperature)

        def sample(params, condition, noises):
            del noises
            return self.act(params, self.flat(condition))[:, None]

        return Sampler(lambda params: {"actor": params["actor"]}, sample, 1, 1)
