"""A trained teacher or student as an object that plans from raw observations."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.compilation_cache import use_compilation_cache
from ractd_jax.diffusion.guidance import Condition
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import CheckpointError, ConfigError
from ractd_jax.losses import PlanReturnFn
from ractd_jax.methods import PLAN_METHODS, Sampler
from ractd_jax.normalizers import Normalizer, normalizer_from_dict
from ractd_jax.planning.packed import COMPILER_OPTIONS, is_supported, packed_network
from ractd_jax.policy import check_keys, checked_observations
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.training.checkpoint import StoredModel
from ractd_jax.training.stages.stored import (
    check_same_data,
    load_reward_members,
    load_stage_model,
)

PRECISIONS = ("float32", "bfloat16")
_CONSTANT_BYTES = 32 * 2**20
# A batch of at least this many plans is packed for many.
_MANY = 16
_RETURNS_AT_ONCE = 2_048


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


class Planner:
    """Plans in environment units; compiled once for each batch size.

    A plan depends on its own observation and key only, not on the rest of the batch.
    `method`, `params` and :meth:`condition` make other samplers from the same weights.

    Attributes:
      settings: settings of the training.
      dims: O, A, H and h.
      role: ``teacher``, ``ddpm``, ``student`` or ``bc``.
      num_steps: steps of the sampler.
      temperature: scale of the noise that plans start from.
      execute: actions of a plan to execute before the next.
      num_candidates: N, plans sampled for each one returned, the best of them.
      plan_return_fn: predicts the return of a plan; None with one candidate.
      nfe: network evaluations of a plan, one after the other.
      method: the method, see :mod:`ractd_jax.methods`.
      params: its parameters, on the device.
      observation_normalizer: maps observations to the network's units.
      action_normalizer: maps actions to the network's units.
      precision: ``float32``, or ``bfloat16``: kernels rounded to it, which a student
        on a CPU also multiplies in it (:mod:`ractd_jax.planning.packed`).
      plan_fn: (weights, observations as :meth:`plan` has them, key or [B] keys,
        first_only) -> [B, H, D] or [B, D]; pure, and for any B.
      weights: what `plan_fn` takes.
    """

    def __init__(
        self,
        settings: Settings,
        dims: Dimensions,
        role: str,
        params: Any,
        observation_normalizer: Normalizer,
        action_normalizer: Normalizer,
        num_steps: int,
        plan_return_fn: PlanReturnFn | None = None,
        num_candidates: int = 1,
        precision: str = "float32",
        temperature: float = 1.0,
    ):
        if precision not in PRECISIONS:
            raise ValueError(
                f"precision: expected one of {', '.join(PRECISIONS)}, found "
                f"{precision!r}"
            )
        self.settings = settings
        self.dims = dims
        self.role = role
        self.num_steps = num_steps
        self.temperature = temperature
        self.execute = settings.plan.execute
        self.num_candidates = num_candidates
        self.plan_return_fn = plan_return_fn
        self.method = PLAN_METHODS[role].from_settings(settings, dims)
        self.precision = precision
        self.params = _stored_kernels(
            jax.device_put(params), precision, settings.network.dtype
        )
        self.observation_normalizer = observation_normalizer
        self.action_normalizer = action_normalizer
        sampler = self.sampler_of(self.method.network)
        self.nfe = sampler.nfe
        # Not jitted: its outputs would be copies of all weights, one for each level.
        weights = sampler.prepare(self.params)
        shape = (num_candidates, sampler.num_noises, *dims.plan_shape)
        plan_normalizer = (
            observation_normalizer if dims.plans_states else action_normalizer
        )

        def condition(observations):
            if dims.plans_states:
                state, goal = jnp.split(observations, [dims.observation], axis=-1)
                # The goal as a state: at rest, all components but the goal's are 0.
                goal = jnp.pad(goal, ((0, 0), (0, dims.observation - dims.goal)))
                return {
                    "start": observation_normalizer.normalize(state),
                    "goal": observation_normalizer.normalize(goal),
                }
            shape = (observations.shape[0], dims.history, dims.observation)
            latest = observation_normalizer.normalize(observations).reshape(shape)
            if not dims.rank:
                return {"observations": latest}
            rank = jnp.full_like(latest[:, 0, :1], settings.evaluation.target_rank)
            return {"rank": rank, "observations": latest}

        def best(plans, condition):
            if len(plans) <= _RETURNS_AT_ONCE:
                returns = plan_return_fn(plans, condition).reshape(-1, num_candidates)
                plans = plans.reshape(-1, num_candidates, *dims.plan_shape)
            else:
                # The reward model rates every state. All candidates at once would fill
                # the memory with its activations, so they take turns.
                condition = jax.tree.map(
                    lambda x: x.reshape(-1, num_candidates, *x.shape[1:])[:, 0],
                    condition,
                )
                plans = plans.reshape(-1, num_candidates, *dims.plan_shape)
                returns = jax.lax.map(
                    lambda candidate: plan_return_fn(candidate, condition),
                    plans.swapaxes(0, 1),
                ).T
            chosen = returns.argmax(axis=1)[:, None, None, None]
            return jnp.take_along_axis(plans, chosen, axis=1)[:, 0]

        def make_plan_fn(sampler):
            def plan(weights, observations, key, first_only):
                batch = observations.shape[0]
                keys = key if key.ndim else jax.random.split(key, batch)
                noises = jax.vmap(lambda k: jax.random.normal(k, shape))(keys)
                # [B, N, ...] to [B N, ...]: a plan's candidates lie side by side.
                noises = jnp.moveaxis(noises.reshape(-1, *shape[1:]), 1, 0)
                conditions = jax.tree.map(
                    lambda leaf: jnp.repeat(leaf, num_candidates, axis=0),
                    condition(observations),
                )
                plans = sampler.sample(weights, conditions, noises)
                if num_candidates > 1:
                    plans = best(plans, conditions)
                plans = plans[:, 0] if first_only else plans
                return plan_normalizer.unnormalize(plans)

            return plan

        self.plan_fn, self.weights = make_plan_fn(sampler), weights
        self._condition = condition
        self._make_plan_fn = make_plan_fn
        self._many = _compiled(self.plan_fn, weights)
        in_few_bits = role == "student" and precision == "bfloat16"
        self._packs = in_few_bits and is_supported()
        # Batch size -> packed program, or None where the plain one is used.
        self._programs: dict[int, Any] = {}

    def sampler_of(self, network) -> Sampler:
        """This planner's sampler with another form of its network."""
        method = dataclasses.replace(self.method, network=network)
        return method.sampler(self.num_steps, self.temperature)

    def _program(self, batch_size: int):
        if not self._packs:
            return self._many
        # All batches of many plans share their packed kernels.
        size = min(batch_size * self.num_candidates, _MANY)
        if size not in self._programs:
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

    def plan(self, observations: np.ndarray, key: jax.Array) -> jax.Array:
        """Samples plans, each the best of `num_candidates` by predicted return.

        Args:
          observations: [B, O] in environment units, or [B, h, O] (oldest first) when
            the planner was trained with a history h > 1; [B, O + G], the state and the
            goal, for plans of states.
          key: one PRNG key, or [B] keys, one for each plan.

        Returns:
          [B, H, A] actions or [B, H, O] states, in environment units.

        Raises:
          ValueError: the observations or keys have a wrong shape, or are not finite.
        """
        return self._plan(*self._checked(observations, key), first_only=False)

    def act(self, observations: np.ndarray, key: jax.Array) -> jax.Array:
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
        check_keys(key, len(observations))
        return observations, key

    def _checked_observations(self, observations):
        return checked_observations(observations, self.dims.observation_shape)


def load_planner(
    directory: str | os.PathLike,
    *,
    num_steps: int | None = None,
    weights: str = "ema",
    num_candidates: int | None = None,
    reward: str | os.PathLike | None = None,
    precision: str = "float32",
    temperature: float | None = None,
    target_rank: float | None = None,
) -> Planner:
    """Loads the planner trained in `directory`.

    Args:
      directory: workdir of train_teacher, train_student, train_ddpm or train_bc.
      num_steps: Heun steps of a teacher (default ``evaluation.teacher_steps`` of its
        settings), steps of a DDPM model (default all; fewer are DDIM's) or jumps of a
        student (default ``evaluation.student_steps``).
      weights: ``ema`` or ``raw``.
      num_candidates: N, plans sampled together for each observation, of which the
        one with the highest predicted return is taken (Monte-Carlo selection); by
        default ``evaluation.num_candidates`` of its settings, 1.
      reward: workdir of train_reward, which N > 1 needs; by default the one that the
        student was trained with.
      precision: ``bfloat16`` rounds the kernels, and a student on a CPU also reads or
        multiplies them in bfloat16. That is faster with large networks or many plans,
        and moves plans by less than a hundredth of their range (docs/performance.md).
      temperature: scale of the noise that plans start from, at least 0; by default
        ``evaluation.temperature`` of its settings.
      target_rank: in [-1, 1], the return's rank that conditions the plans of a model
        with ``plan.return_condition``; by default ``evaluation.target_rank`` of its
        settings.

    Raises:
      ConfigError: the rank is out of range, or the plans have no such condition.
      CheckpointError: the folder has no readable checkpoint of a planner, or the reward
        model's folder has none.
      ValueError: an impossible number of steps or candidates, or another precision.
    """
    use_compilation_cache()
    stored = StoredModel(directory)
    role = stored.metadata["stage"]
    if role not in PLAN_METHODS:
        raise CheckpointError(
            f"{directory}: expected a teacher, ddpm, student or bc checkpoint, found a "
            f"{role} checkpoint"
        )
    settings = from_mapping(stored.metadata["settings"])
    dims = Dimensions(**stored.metadata["dimensions"])
    if target_rank is not None:
        if not dims.rank:
            raise ConfigError(
                f"target_rank: expected plans of config.plan.return_condition = True, "
                f"found {directory} without it"
            )
        settings = from_mapping({"evaluation": {"target_rank": target_rank}}, settings)
    method = PLAN_METHODS[role].from_settings(settings, dims)
    template = jax.eval_shape(method.init, jax.random.key(0))
    if num_steps is None:
        num_steps = {
            "teacher": settings.evaluation.teacher_steps,
            "ddpm": settings.ddpm.num_timesteps,
            "student": settings.evaluation.student_steps,
            "bc": 1,
        }[role]
    if temperature is None:
        temperature = settings.evaluation.temperature
    if num_candidates is None:
        num_candidates = settings.evaluation.num_candidates
    if num_candidates < 1:
        raise ValueError(f"num_candidates must be at least 1, not {num_candidates}")
    plan_return_fn = None
    if num_candidates > 1:
        reward = reward or stored.metadata.get("reward", {}).get("directory")
        if not reward:
            raise CheckpointError(
                f"{directory}: {num_candidates} candidates need a reward model to "
                "choose with: expected its folder (reward), found none"
            )
        plan_return_fn = _load_plan_return(reward, settings, dims, stored.metadata)
    normalizers = {
        name: normalizer_from_dict(value)
        for name, value in stored.metadata["normalizers"].items()
    }
    return Planner(
        settings,
        dims,
        role,
        stored.load(template, weights),
        normalizers["observations"],
        normalizers["actions"],
        num_steps,
        plan_return_fn,
        num_candidates,
        precision,
        temperature,
    )


def _load_plan_return(
    directory, settings: Settings, dims: Dimensions, metadata: dict
) -> PlanReturnFn:
    stored = load_stage_model(directory, "reward", settings)
    check_same_data(stored, metadata)
    options = settings.student
    ensemble, params = load_reward_members(stored, dims, options.num_members)
    return ensemble.plan_return_fn(jax.device_put(params), options.pessimism)
