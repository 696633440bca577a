"""Policies of discrete actions: behaviour cloning, and conservative Q-learning.

Actions are one-hot vectors of -1 and 1 (:mod:`ractd_jax.tasks.discrete`). Both are
baselines without a planner: a plan is one action, the one with the largest output.
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
    PlanBatch,
    PlanMethod,
    Sampler,
    check_one_step,
    check_transitions,
)
from ractd_jax.methods.critic import TransitionBatch
from ractd_jax.networks import LogitsMLP
from ractd_jax.settings import Settings


class NoDraws(NamedTuple):
    """A step without randomness of its own."""


@dataclasses.dataclass(frozen=True)
class DiscretePolicy(PlanMethod):
    """A network with an output for each action; the largest one's is taken."""

    is_random = False

    @classmethod
    def network_of(cls, settings: Settings, dims: Dimensions) -> LogitsMLP:
        """Raises ConfigError for plans of more than one action, or of states."""
        if dims.ends or dims.horizon > 1:
            raise ConfigError(
                f"config.plan.horizon: expected 1 and plans of actions for {cls.name}, "
                f"found {dims.horizon}"
            )
        return LogitsMLP(dims.action, cls.options(settings).widths)

    def init(self, key: jax.Array) -> Any:
        return self.network.init(key, jnp.zeros((1, self.dims.condition)))["params"]

    def outputs(self, params: Any, observations: jax.Array) -> jax.Array:
        """[B, A] of observations [B, O]."""
        return self.network.apply({"params": params}, observations)

    def draw(self, key: jax.Array, batch_size: int) -> NoDraws:
        del key, batch_size
        return NoDraws()

    def sampler(self, num_steps: int = 1, temperature: float = 1.0) -> Sampler:
        """Numbers from -1 to 1 in the order of the outputs, the largest action's is 1.

        Raises:
          ValueError: more than one step, or a temperature below 0.
        """
        check_one_step(self.name, num_steps, temperature)

        def sample(params, condition, noises):
            del noises
            outputs = self.outputs(params, self.flat(condition))
            # An environment may not have the best action, so that all are ranked.
            ranks = outputs.argsort(axis=-1).argsort(axis=-1)
            return (2.0 * ranks / max(self.dims.action - 1, 1) - 1.0)[:, None]

        return Sampler(lambda params: params, sample, 1, 1)


@dataclasses.dataclass(frozen=True)
class DiscreteCloning(DiscretePolicy):
    """Behaviour cloning by cross-entropy."""

    name = "discrete_bc"

    @classmethod
    def from_settings(cls, settings: Settings, dims: Dimensions) -> DiscreteCloning:
        """Raises ConfigError, see `network_of`."""
        return cls(cls.network_of(settings, dims), dims)

    def loss(
        self,
        params: Any,
        target_params: Any,
        frozen: Any,
        batch: PlanBatch,
        draws: NoDraws,
    ) -> tuple[jax.Array, Info]:
        """See :meth:`Method.loss`."""
        del target_params, frozen, draws
        logits = self.outputs(params, self.flat(batch.condition))
        taken = batch.plans[:, 0].argmax(axis=-1)
        log_probs = jax.nn.log_softmax(logits)
        loss = -jnp.take_along_axis(log_probs, taken[:, None], axis=-1).mean()
        right = (logits.argmax(axis=-1) == taken).mean()
        return loss, {"loss/cross_entropy": loss, "accuracy": right}


@dataclasses.dataclass(frozen=True)
class DiscreteCql(DiscretePolicy):
    """Conservative Q-learning (Kumar et al. 2020) on double DQN's targets.

        L = (Q(s, a) - r - gamma (1 - terminal) Q^-(s', argmax_a' Q(s', a')))^2
            + alpha (log sum_a' exp Q(s, a') - Q(s, a))

    Attributes:
      alpha: weight of the conservative term.
      discount: gamma.
    """

    alpha: float
    discount: float

    name = "cql"

    @classmethod
    def from_settings(cls, settings: Settings, dims: Dimensions) -> DiscreteCql:
        """Raises ConfigError, see `network_of`."""
        options = settings.cql
        check_transitions(dims, cls.name)
        network = cls.network_of(settings, dims)
        return cls(network, dims, options.alpha, options.discount)

    def loss(
        self,
        params: Any,
        target_params: Any,
        frozen: Any,
        batch: TransitionBatch,
        draws: NoDraws,
    ) -> tuple[jax.Array, Info]:
        """See :meth:`Method.loss`."""
        del frozen, draws
        values = self.outputs(params, batch.observations)
        taken = batch.actions.argmax(axis=-1)[:, None]
        value = jnp.take_along_axis(values, taken, axis=-1)[:, 0]
        following = batch.next_observations
        best = self.outputs(params, following).argmax(axis=-1)[:, None]
        after = self.outputs(target_params, following)
        after = jnp.take_along_axis(after, best, axis=-1)[:, 0]
        targets = batch.rewards + self.discount * (1.0 - batch.terminals) * after
        error = jnp.square(value - jax.lax.stop_gradient(targets)).mean()
        gap = (jax.nn.logsumexp(values, axis=-1) - value).mean()
        return error + self.alpha * gap, {
            "loss/q": error,
            "loss/conservative": gap,
            "critic/largest_q": jnp.abs(values).max(),
        }
