"""A trained teacher or student as an object that plans from raw observations."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ractd_jax.diffusion.guidance import Condition, Guidance
from ractd_jax.dimensions import Bounds, Dimensions
from ractd_jax.inputs import checked_key, checked_observations, fixed_numerics
from ractd_jax.joint import join_parts, split_parts
from ractd_jax.losses import PlanReturnFn
from ractd_jax.methods import PLAN_METHODS, Sampler
from ractd_jax.normalizers import Changes, Normalizer
from ractd_jax.planning.packed import COMPILER_OPTIONS, is_supported, packed_network
from ractd_jax.planning.plan_functions import (
    make_choose_fn,
    make_condition_fn,
    make_planning_fn,
)
from ractd_jax.settings import Settings

PRECISIONS = ("float32", "bfloat16")
_CONSTANT_BYTES = 32 * 2**20
# A batch of at least this many plans is packed for many.
_MANY = 16


def _are_constants(weights: Any) -> bool:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(weights)) <= _CONSTANT_BYTES


def _compiled(plan_fn, weights, compiler_options=None):
    """(observations, key, first_only=) -> plans, compiled at each new batch size.

    The weights of a small network are constants of the program, which saves a fifth of
    a call. Those of a large network are arguments, or the program would be huge.
    """
    options = {"static_argnames": "first_only", "compiler_options": compiler_options}
    if _are_constants(weights):
        return jax.jit(functools.partial(plan_fn, weights), **options)
    return functools.partial(jax.jit(plan_fn, **options), weights)


def _stored_kernels(params: Any, precision: str, compute_dtype: str) -> Any:
    """Kernels rounded to `precision` and stored in the dtype of the products.

    A network that computes in bfloat16 would round its kernels at every call. Stored
    in bfloat16 they give the same plans from half as many bytes.
    """
    if precision == compute_dtype == "float32":
        return params
    return jax.tree.map(
        lambda leaf: (
            leaf.astype(precision).astype(compute_dtype) if leaf.ndim > 1 else leaf
        ),
        params,
    )


def _check_options(
    stage: str, num_candidates: int, precision: str, guidance: Sequence[Guidance]
) -> None:
    """Raises ValueError for candidates, a precision or guidance that cannot be."""
    if num_candidates < 1:
        raise ValueError(f"num_candidates: expected at least 1, found {num_candidates}")
    if guidance and not PLAN_METHODS[stage].takes_guidance:
        raise ValueError(
            f"guidance: expected none with a {stage}, which does not denoise step "
            f"by step, found {len(guidance)} transforms"
        )
    if precision not in PRECISIONS:
        raise ValueError(
            f"precision: expected one of {', '.join(PRECISIONS)}, found {precision!r}"
        )


class Planner:
    """Plans in environment units; compiled once for each batch size.

    A plan depends on its own observation and key only, not on the rest of the batch.
    `method`, `params` and :meth:`condition` make other samplers from the same weights.

    Attributes:
      settings: settings of the training.
      dims: O, A, H and h.
      stage: ``teacher``, ``ddpm``, ``student`` or ``bc``.
      num_steps: steps of the sampler.
      temperature: scale of the noise that plans start from.
      guidance: transforms of the denoiser.
      execute: actions of a plan to execute before the next.
      num_candidates: N, plans sampled for each one returned, the best of them.
      plan_return_fn: predicts the return of a plan; None with one candidate.
      nfe: network evaluations of a plan, one after the other.
      method: the method, see :mod:`ractd_jax.methods`.
      params: its parameters, on the device.
      observation_normalizer: maps observations to the network's units.
      action_normalizer: maps actions to the network's units.
      action_bounds: what the environment of the data takes, where it is known.
      changes: units of plans of states that are relative to their start, else None.
      precision: ``float32``, or ``bfloat16``: kernels rounded to it, which a student
        on a CPU also multiplies in it (``ractd_jax/planning/packed.py``).
      plan_fn: (weights, observations as :meth:`plan` has them, key or [B] keys,
        first_only) -> [B, H, D] or [B, D]; pure, and for any B.
      weights: what `plan_fn` takes.
      source: what it was loaded from: ``directory``, ``checkpoint`` (its digest),
        ``step``, ``weights`` (ema or raw), ``reward_directory`` and ``reward`` (the
        digest of the model that chooses); empty where it was not.
    """

    def __init__(
        self,
        settings: Settings,
        dims: Dimensions,
        stage: str,
        params: Any,
        observation_normalizer: Normalizer,
        action_normalizer: Normalizer,
        num_steps: int,
        plan_return_fn: PlanReturnFn | None = None,
        num_candidates: int = 1,
        precision: str = "float32",
        temperature: float = 1.0,
        guidance: Sequence[Guidance] = (),
        source: Mapping[str, Any] | None = None,
        action_bounds: Bounds = Bounds(),  # noqa: B008
        changes: Changes | None = None,
    ):
        _check_options(stage, num_candidates, precision, guidance)
        if settings.plan.relative != (changes is not None):
            raise ValueError(
                "changes: expected the units of the plans where settings.plan.relative "
                f"is True, and None elsewhere, found {changes!r} where it is "
                f"{settings.plan.relative}"
            )
        self.guidance = tuple(guidance)
        self.source = dict(source or {})
        self.settings = settings
        self.dims = dims
        self.stage = stage
        self.num_steps = num_steps
        self.temperature = temperature
        self.execute = settings.plan.execute
        self.num_candidates = num_candidates
        self.plan_return_fn = plan_return_fn
        self.method = PLAN_METHODS[stage].from_settings(settings, dims)
        self.precision = precision
        self.params = _stored_kernels(
            jax.device_put(params), precision, settings.network.dtype
        )
        self.observation_normalizer = observation_normalizer
        self.action_normalizer = action_normalizer
        self.action_bounds = action_bounds
        self.changes = changes
        with fixed_numerics():
            sampler = self.sampler_of(self.method.network)
            # Not jitted: its outputs would be copies of all weights, one for each
            # level.
            weights = sampler.prepare(self.params)
        self.nfe = sampler.nfe
        shape = (num_candidates, sampler.num_noises, *dims.plan_shape)
        condition_fn = make_condition_fn(settings, dims, observation_normalizer)
        choose_fn = None
        if num_candidates > 1:
            if plan_return_fn is None:
                raise ValueError("plan_return_fn: expected a function, found None")
            choose_fn = make_choose_fn(plan_return_fn, num_candidates)

        def make_plan_fn(sampler):
            return make_planning_fn(
                sampler, condition_fn, self.unnormalize_plans, shape, choose_fn
            )

        self.plan_fn, self.weights = make_plan_fn(sampler), weights
        self._condition = condition_fn
        self._make_plan_fn = make_plan_fn
        self._many = _compiled(self.plan_fn, weights)
        in_few_bits = stage == "student" and precision == "bfloat16"
        self._packs = in_few_bits and is_supported()
        # Batch size -> packed program, or None where the plain one is used.
        self._programs: dict[int, Any] = {}

    def __reduce__(self):
        if self.plan_return_fn is not None or self.guidance:
            raise TypeError(
                "a planner with candidates or guidance cannot be pickled: call "
                "load_planner where it is needed, or export it to a file "
                "(ractd_jax.planning.export)"
            )
        params = jax.device_get(self.params)
        normalizers = self.observation_normalizer, self.action_normalizer
        sampled = self.num_steps, None, 1, self.precision, self.temperature
        made_of = self.settings, self.dims, self.stage, params, *normalizers, *sampled
        rest = (), self.source, self.action_bounds, self.changes
        return Planner, (*made_of, *rest)

    def __deepcopy__(self, memo):
        return self  # nothing of it changes

    def normalize_plans(self, plans):
        """[..., H, D] plans in environment units -> as the network knows them."""
        if self.dims.joint:
            states, actions = split_parts(plans, self.dims.observation)
            states = self.observation_normalizer.normalize(states)
            return join_parts(states, self.action_normalizer.normalize(actions))
        if not self.dims.plans_states:
            return self.action_normalizer.normalize(plans)
        states = self.observation_normalizer.normalize(plans)
        return states if self.changes is None else self.changes.encode(states)

    def unnormalize_plans(self, plans, condition: Condition):
        """[B, H, D] the network's plans of a condition -> in environment units.

        Also of [B, D], first steps of plans of actions.
        """
        if self.dims.joint:
            states, actions = split_parts(plans, self.dims.observation)
            actions = self.action_normalizer.unnormalize(actions)
            if plans.ndim == 2:
                return actions  # what is executed
            return join_parts(self.observation_normalizer.unnormalize(states), actions)
        if not self.dims.plans_states:
            return self.action_normalizer.unnormalize(plans)
        if self.changes is not None:
            plans = self.changes.decode(plans, condition["start"])
        return self.observation_normalizer.unnormalize(plans)

    @property
    def is_random(self) -> bool:
        """Whether plans depend on noise."""
        return self.method.is_random

    def sampler_of(self, network) -> Sampler:
        """This planner's sampler with another form of its network."""
        method = dataclasses.replace(self.method, network=network)
        if not method.takes_guidance:
            return method.sampler(self.num_steps, self.temperature)
        return method.sampler(self.num_steps, self.temperature, self.transforms)

    @property
    def transforms(self) -> tuple[Guidance, ...]:
        """Everything that guides the denoiser, by elements first."""
        weight = self.settings.evaluation.guidance_weight
        return (*self.method.guidance_by_elements(weight), *self.guidance)

    def _program(self, batch_size: int):
        if not self._packs:
            return self._many
        # All batches of many plans share their packed kernels.
        size = min(batch_size * self.num_candidates, _MANY)
        if size not in self._programs:
            with fixed_numerics():
                self._programs[size] = self._packed_program(size)
        return self._programs[size] or self._many

    def _packed_program(self, size: int):
        if 1 < size < _MANY:
            return None
        packed = {}
        for sigma, folded in self.weights.items():
            found = packed_network(self.method.network, folded, self.dims, size)
            if found is None:
                return None
            network, packed[sigma] = found
        sampler = self.sampler_of(network)
        return _compiled(self._make_plan_fn(sampler), packed, COMPILER_OPTIONS)

    def _plan(self, observations, key, *, first_only):
        if type(observations) is not np.ndarray:  # inside jit, vmap or grad
            return self.plan_fn(self.weights, observations, key, first_only)
        plan = self._program(len(observations))
        return plan(observations, key, first_only=first_only)

    def warmup(self, batch_sizes: Iterable[int] = (1,)) -> Planner:
        """Compiles the programs for these batch sizes, for calls with one key.

        Compiled programs are kept in the user's cache folder
        (:mod:`ractd_jax.compilation_cache`), where the next process reuses them.

        Returns:
          The planner itself.

        Raises:
          ValueError: a batch size below 1.
        """
        function = self.plan if self.dims.plans_states else self.act
        for batch_size in batch_sizes:
            if batch_size < 1:
                raise ValueError(
                    f"batch_sizes: expected at least 1, found {batch_size}"
                )
            zeros = np.zeros((batch_size, *self.dims.observation_shape), np.float32)
            jax.block_until_ready(function(zeros, jax.random.key(0)))
        return self

    def condition(self, observations: np.ndarray) -> Condition:
        """The normalised condition of plans; `observations` as for :meth:`plan`."""
        return self._condition(self._checked_observations(observations))

    def plan(self, observations: np.ndarray, key: jax.typing.ArrayLike) -> jax.Array:
        """Samples plans, each the best of `num_candidates` by predicted return.

        Args:
          observations: [B, O] in environment units, or [B, h, O] (oldest first) when
            the planner was trained with a history h > 1; [B, O + G], the state and the
            goal, for plans of states, with E elements behind it [B, O + G + E F] where
            plans go through waypoints.
          key: one key, or [B] keys, one for each plan. A key is one of
            ``jax.random.key``, a uint32 [2] of ``jax.random.PRNGKey``, or an int s,
            which is ``jax.random.key(s)``; noise is threefry's, whatever JAX's default.

        Returns:
          [B, H, A] actions, [B, H, O] states or [B, H, O + A] both, in environment
          units.

        Raises:
          ValueError: the observations or keys have a wrong shape, or are not finite.
        """
        return self._plan(*self._checked(observations, key), first_only=False)

    def act(self, observations: np.ndarray, key: jax.typing.ArrayLike) -> jax.Array:
        """[B, A]: the first actions of :meth:`plan`, same arguments.

        Raises:
          ValueError: also when plans hold states, which a controller has to follow.
        """
        if self.dims.plans_states:
            raise ValueError(
                "this planner plans states: follow plan() with a controller of "
                "ractd_jax.planning.controllers"
            )
        return self._plan(*self._checked(observations, key), first_only=True)

    def _checked(self, observations, key):
        observations = self._checked_observations(observations)
        return observations, checked_key(key, len(observations))

    def _checked_observations(self, observations):
        return checked_observations(observations, self.dims.observation_shape)
