"""The interface of a method, and what the methods that make plans share.

A method is everything that one model is: its parameters, the randomness of a training
step, the loss, and how it samples. Its functions are pure, and know nothing of
devices: a training draws for the global batch and slices (:mod:`ractd_jax.training`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax import losses
from ractd_jax.diffusion import EdmNoise, guidance
from ractd_jax.diffusion.guidance import (
    Condition,
    ConditionedDenoiseFn,
    Guidance,
)
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.methods.denoisers import DenoiserNetwork, make_network
from ractd_jax.networks import pin_ends
from ractd_jax.settings import Diffusion, Plan, Settings

Info = dict[str, jax.Array]
# Folded into a step's key. Small numbers give the keys that splitting it gives, too.
_KNOWN_STREAM = 0x6B6E6F77


class Method(Protocol):
    """A model that can be trained.

    Attributes:
      name: the section of its settings, and the stage that its checkpoints name.
    """

    name: str

    def init(self, key: jax.Array) -> Any:
        """Fresh parameters."""

    def draw(self, key: jax.Array, batch_size: int) -> Any:
        """All randomness of a step, for the global batch.

        Returns:
          A tree of arrays and keys. The first axis of an array is the batch's, and a
          replica takes its part of it; into a key, a replica folds its own number.
        """

    def loss(
        self, params: Any, target_params: Any, frozen: Any, batch: Any, draws: Any
    ) -> tuple[jax.Array, Info]:
        """(loss, scalars to log).

        Args:
          params: the trained parameters.
          target_params: their moving average, or None without one.
          frozen: parameters and numbers that the loss reads and does not train.
          batch: normalised data.
          draws: the result of :meth:`draw`.
        """


class PlanBatch(NamedTuple):
    """Normalised windows, see :class:`ractd_jax.dimensions.Dimensions`.

    Attributes:
      plans: [B, H, D].
      condition: arrays [B, ...], shaped as ``dims.condition_shapes`` says.
    """

    plans: jax.Array
    condition: Condition


class Sampler(NamedTuple):
    """A sampler of normalised plans.

    Attributes:
      prepare: params -> weights; computes once what is the same for every plan.
      sample: (weights, condition, noises [N, B, H, D]) -> plans [B, H, D].
      num_noises: N, standard normal draws of a plan's shape that it reads.
      nfe: network evaluations of a plan, one after the other; guidance may add some.
    """

    prepare: Callable[[Any], Any]
    sample: Callable[[Any, Condition, jax.Array], jax.Array]
    num_noises: int
    nfe: int


@dataclasses.dataclass(frozen=True)
class PlanMethod:
    """A network that makes plans.

    Attributes:
      network: the network, with the dropout rate of its training.
      dims: sizes of its plans and conditions.
    """

    network: DenoiserNetwork
    dims: Dimensions

    # Name of its checkpoints.
    name: ClassVar[str]
    # Section of the settings with the options of its training; "" for its name.
    section: ClassVar[str] = ""
    # Whether the network has a second noise input.
    jumps: ClassVar[bool] = False
    # Whether its plans depend on noise.
    is_random: ClassVar[bool] = True
    # Whether its sampler takes transforms of the denoiser.
    takes_guidance: ClassVar[bool] = False

    @classmethod
    def options(cls, settings: Settings) -> Any:
        """The options of its training."""
        return getattr(settings, cls.section or cls.name)

    @classmethod
    def default_steps(cls, settings: Settings) -> int:
        """Steps of its sampler, if a planner's user names none."""
        return 1

    @classmethod
    def from_settings(cls, settings: Settings, dims: Dimensions) -> PlanMethod:
        """The method that the settings describe."""
        raise NotImplementedError

    def init(self, key: jax.Array) -> Any:
        x = jnp.zeros((1, *self.dims.plan_shape))
        level, condition = jnp.zeros(1), jnp.zeros((1, self.dims.condition))
        stop = level if self.jumps else None
        return self.network.init(key, x, level, condition, stop)["params"]

    def sampler(
        self,
        num_steps: int,
        temperature: float = 1.0,
        transforms: Sequence[Guidance] = (),
    ) -> Sampler:
        """A sampler of `num_steps` steps, from noise scaled by `temperature`.

        Only a method with ``takes_guidance`` has the last argument.
        """
        raise NotImplementedError

    def training_options(self, dropout: jax.Array) -> dict[str, Any]:
        """Options of ``network.apply`` in a loss, given the key for dropout."""
        return {
            "deterministic": self.network.config.dropout_rate == 0.0,
            "rngs": {"dropout": dropout},
        }

    def flat(self, condition: Condition) -> jax.Array:
        """The condition as one array [B, C], the form in which the network takes it."""

        def rows(part):
            # Not -1: in an exported program the number of rows is a symbol.
            return part.reshape(part.shape[0], math.prod(part.shape[1:]))

        names = self.dims.condition_shapes
        return jnp.concatenate([rows(condition[name]) for name in names], axis=-1)

    def named(self, flat: jax.Array) -> Condition:
        """The inverse of :meth:`flat`: [B, C] -> the condition."""
        shapes = self.dims.condition_shapes
        ends = np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1]
        parts = zip(shapes.items(), jnp.split(flat, ends, axis=-1), strict=True)
        return {name: x.reshape(x.shape[0], *shape) for (name, shape), x in parts}

    def pin(self, plans: jax.Array, condition: Condition) -> jax.Array:
        """Noisy `plans` with the ends in place that the condition fixes, if any."""
        return self._with_ends(plans, condition, moves_along=False)

    def pin_clean(self, plans: jax.Array, condition: Condition) -> jax.Array:
        """:meth:`pin` for clean plans: the steps next to an end move along with it."""
        return self._with_ends(plans, condition, moves_along=True)

    def _with_ends(self, plans, condition, moves_along):
        config = self.network.config
        if not config.pins_ends:
            return plans
        reach = config.pin_reach if moves_along else 0
        ends = jnp.concatenate([condition[end] for end in self.dims.ends], axis=-1)
        return pin_ends(plans, ends, reach, self.dims.observation)

    def blank(self, condition: Condition) -> Condition:
        """The condition without its elements, for classifier-free guidance."""
        return {**condition, "known": jnp.zeros_like(condition["known"])}

    def guidance_by_elements(self, weight: float) -> tuple[Guidance, ...]:
        """Classifier-free guidance of this weight; none where it changes nothing."""
        if not self.dims.elements or weight == 1.0:
            return ()
        return (guidance.classifier_free(weight, self.blank),)

    def draw_known(
        self, key: jax.Array, batch_size: int, dropout: float
    ) -> jax.Array | None:
        """[B, 1] 1 where a step of training shows the elements, 0 where it does not.

        None for plans without elements.
        """
        if not self.dims.elements:
            return None
        key = jax.random.fold_in(key, _KNOWN_STREAM)
        shown = jax.random.bernoulli(key, 1.0 - dropout, (batch_size, 1))
        return shown.astype(jnp.float32)

    def guided(
        self, denoise_fn: ConditionedDenoiseFn, transforms: Sequence[Guidance]
    ) -> ConditionedDenoiseFn:
        """`denoise_fn` under guidance, with the known ends put in place last."""
        if not transforms:
            return denoise_fn
        return guidance.guided(
            denoise_fn, [*transforms, guidance.inpaint(self.pin_clean)]
        )


def check_one_step(method: str, num_steps: int, temperature: float) -> None:
    """Raises ValueError for options that a sampler of one step does not have."""
    check_temperature(temperature)
    if num_steps != 1:
        raise ValueError(f"num_steps must be 1 for {method}, not {num_steps}")


def check_transitions(dims: Dimensions, learner: str) -> None:
    """Raises ConfigError for conditions that single transitions do not have."""
    if dims.history > 1 or dims.rank:
        raise ConfigError(
            "config.plan: expected history = 1 and return_condition = False for "
            f"{learner}, which learns from single transitions, found history = "
            f"{dims.history} and return_condition = {bool(dims.rank)}"
        )


def check_temperature(temperature: float) -> None:
    if not 0.0 <= temperature < math.inf:
        raise ValueError(f"temperature must be at least 0, not {temperature}")


def edm_noise(settings: Diffusion) -> EdmNoise:
    """The noise levels and factors that these settings define."""
    return EdmNoise(
        sigma_min=settings.sigma_min,
        sigma_max=settings.sigma_max,
        sigma_data=settings.sigma_data,
        rho=settings.rho,
        floor=settings.sigma_floor,
    )


def init_noise_scale(settings: Diffusion) -> float:
    """Standard deviation of x_T."""
    scale = settings.init_noise_scale
    return settings.sigma_max if scale is None else scale


def plan_distance(name: str, plan: Plan, dims: Dimensions) -> losses.DistanceFn:
    """The distance between plans, weighted by `plan.executed_weight`."""
    if plan.executed_weight == 1.0:
        return losses.distance(name)
    weights = np.ones(dims.plan_shape)
    # In a joint plan the actions stand behind the states.
    weights[: plan.execute, -dims.action :] = plan.executed_weight
    return losses.distance(name, weights / weights.mean())


def with_known(condition: Condition, known: jax.Array | None) -> Condition:
    """The condition, its elements left out where `known` [B, 1] is 0."""
    return condition if known is None else {**condition, "known": known}


def of_settings(settings: Settings, dims: Dimensions, section: str) -> dict[str, Any]:
    """The fields of :class:`PlanMethod`, from one section of the settings."""
    options = getattr(settings, section)
    return {
        "network": make_network(settings.network, dims, options.dropout_rate),
        "dims": dims,
    }
