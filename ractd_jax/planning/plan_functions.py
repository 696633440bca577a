"""What a planner's compiled program is made of, as pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from ractd_jax.diffusion.guidance import Condition
from ractd_jax.dimensions import Dimensions
from ractd_jax.inputs import fixed_numerics
from ractd_jax.losses import PlanReturnFn
from ractd_jax.methods import Sampler
from ractd_jax.normalizers import Normalizer
from ractd_jax.settings import Settings
from ractd_jax.tasks import get_task

_RETURNS_AT_ONCE = 2_048
# observations in environment units -> what plans are conditioned on
ConditionFn = Callable[[jax.Array], Condition]
# (plans [B N, H, D], condition [B N, ...]) -> the best plan of each N, [B, H, D]
ChooseFn = Callable[[jax.Array, Condition], jax.Array]


def make_condition_fn(
    settings: Settings, dims: Dimensions, normalizer: Normalizer
) -> ConditionFn:
    """observations [B, ...], see ``Planner.plan``, -> condition, normalised.

    Args:
      settings: of the training.
      dims: of its plans.
      normalizer: of observations.
    """

    def of_start(observations):
        found = {"start": normalizer.normalize(observations)}
        if not dims.elements:
            return found
        kinds = get_task(dims.family).elements(observations)
        known = jnp.ones_like(observations[:, :1])
        return {**found, "elements": kinds[..., None], "known": known}

    def at_rest(goals):
        return normalizer.normalize(
            get_task(dims.family).goal_state(goals, dims.observation)
        )

    def of_start_and_goal(observations):
        observations, elements = _split_elements(observations, dims)
        state, goal = get_task(dims.family).split(observations, dims.goal)
        found = {"start": normalizer.normalize(state), "goal": at_rest(goal)}
        if not dims.elements:
            return found
        found["elements"] = at_rest(elements)[..., : dims.element_size]
        return {**found, "known": jnp.ones_like(found["start"][:, :1])}

    def of_history(observations):
        shape = (observations.shape[0], dims.history, dims.observation)
        latest = normalizer.normalize(observations).reshape(shape)
        if not dims.rank:
            return {"observations": latest}
        rank = jnp.full_like(latest[:, 0, :1], settings.evaluation.target_rank)
        return {"rank": rank, "observations": latest}

    if dims.ends:
        get_task(dims.family)  # An unknown family is an error here, not in a program.
        return of_start_and_goal if dims.goal else of_start
    return of_history


def _split_elements(observations, dims: Dimensions):
    """(what an environment shows [B, O + G], elements [B, E, F] behind it)."""
    shown = dims.environment_observation
    elements = observations[:, shown:]
    shape = observations.shape[0], dims.elements, dims.element_size
    return observations[:, :shown], elements.reshape(shape)


def make_choose_fn(plan_return_fn: PlanReturnFn, num_candidates: int) -> ChooseFn:
    """Takes of N plans side by side the one with the highest predicted return."""

    def choose(plans, condition):
        grouped = plans.reshape(-1, num_candidates, *plans.shape[1:])
        count = plans.shape[0]
        # In an exported policy, which controls few at once, a symbol.
        if jax.export.is_symbolic_dim(count) or count <= _RETURNS_AT_ONCE:
            returns = plan_return_fn(plans, condition).reshape(-1, num_candidates)
        else:
            # The reward model rates every state. All candidates at once would fill
            # the memory with its activations, so they take turns.
            condition = jax.tree.map(
                lambda x: x.reshape(-1, num_candidates, *x.shape[1:])[:, 0], condition
            )
            returns = jax.lax.map(
                lambda candidate: plan_return_fn(candidate, condition),
                grouped.swapaxes(0, 1),
            ).T
        best = returns.argmax(axis=1)[:, None, None, None]
        return jnp.take_along_axis(grouped, best, axis=1)[:, 0]

    return choose


def make_planning_fn(
    sampler: Sampler,
    condition_fn: ConditionFn,
    unnormalize_fn: Callable[[jax.Array, Condition], jax.Array],
    noise_shape: tuple[int, ...],
    choose_fn: ChooseFn | None,
) -> Callable[..., jax.Array]:
    """(weights, observations, key or [B] keys, first_only) -> [B, H, D] or [B, D].

    Args:
      sampler: of normalised plans.
      condition_fn: of :func:`make_condition_fn`.
      unnormalize_fn: (plans, condition) -> plans in environment units.
      noise_shape: (N candidates, draws of each, H, D).
      choose_fn: of :func:`make_choose_fn`; None with one candidate.
    """
    num_candidates = noise_shape[0]

    def plan(weights: Any, observations, key, first_only):
        with fixed_numerics():
            return _plan(weights, observations, key, first_only)

    def _plan(weights, observations, key, first_only):
        batch = observations.shape[0]
        keys = key if key.ndim else jax.random.split(key, batch)
        noises = jax.vmap(lambda k: jax.random.normal(k, noise_shape))(keys)
        # [B, N, ...] to [B N, ...]: a plan's candidates lie side by side.
        noises = jnp.moveaxis(noises.reshape(-1, *noise_shape[1:]), 1, 0)
        condition = condition_fn(observations)
        conditions = jax.tree.map(
            lambda leaf: jnp.repeat(leaf, num_candidates, axis=0), condition
        )
        plans = sampler.sample(weights, conditions, noises)
        if choose_fn is not None:
            plans = choose_fn(plans, conditions)
        plans = plans[:, 0] if first_only else plans
        return unnormalize_fn(plans, condition)

    return plan
