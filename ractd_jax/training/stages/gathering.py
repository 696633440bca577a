"""Batches of normalised plans from the dataset's arrays, of numpy or of JAX alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from ractd_jax.data.changes import plan_changes
from ractd_jax.data.sources import OfflineDataset
from ractd_jax.data.windows import (
    WindowIndex,
    plan_waypoints,
    window_actions,
    window_arrivals,
    window_history,
    window_states,
)
from ractd_jax.dimensions import Dimensions
from ractd_jax.joint import join_parts
from ractd_jax.methods import PlanBatch
from ractd_jax.normalizers import Changes, Normalizer
from ractd_jax.settings import Plan
from ractd_jax.tasks import get_task

# (data, rows) -> batch
Gather = Callable[[Any, Any], Any]


class PlanData(NamedTuple):
    """The dataset's arrays, in environment units, and the windows over them."""

    observations: jax.Array
    actions: jax.Array
    index: WindowIndex
    # [E] return_ranks of the episodes, where plans are conditioned on them.
    ranks: jax.Array | None = None
    # [W] states until the arrival of each window, where they are drawn beforehand.
    lags: jax.Array | None = None


def make_gather(dims: Dimensions, dataset: OfflineDataset, options: Plan) -> Gather:
    """(:class:`PlanData`, rows [B]) -> normalised plans, as :class:`PlanBatch`.

    A row is a window or, where plans arrive at goals, a window and a lag, see
    :func:`rows_per_window`.
    """
    if dims.joint:
        return _gather_joint(dims, dataset)
    if dims.plans_states:
        normalizer = dataset.observation_normalizer
        changes = plan_changes(dataset.episodes, normalizer, options)
        return _gather_states(dims, normalizer, changes, options)
    return _gather_actions(
        dims, dataset.observation_normalizer, dataset.action_normalizer
    )


def rows_per_window(options: Plan) -> int:
    """Rows for each window: lags until the arrival, 1 for plans that have none."""
    return options.horizon - 1 if arrives(options) else 1


def arrives(options: Plan) -> bool:
    """Whether plans are trained to reach a goal before their end, and stay in it."""
    has_goal = options.kind == "states" and options.goal_size > 0
    return has_goal and options.goal == "arrival"


def _gather_actions(
    dims: Dimensions,
    observation_normalizer: Normalizer,
    action_normalizer: Normalizer,
) -> Gather:
    """Plans of actions, conditioned on the latest observations."""

    def gather(data: PlanData, rows) -> PlanBatch:
        plans = window_actions(data.actions, data.index, rows, dims.horizon)
        history = window_history(data.observations, data.index, rows, dims.history)
        shape = (len(rows), dims.history, dims.observation)
        history = observation_normalizer.normalize(history).reshape(shape)
        condition = {"observations": history}
        if dims.rank:
            condition["rank"] = data.ranks[data.index.episode[rows]][:, None]
        return PlanBatch(action_normalizer.normalize(plans), condition)

    return gather


def _gather_joint(dims: Dimensions, dataset: OfflineDataset) -> Gather:
    """Plans of states and actions, conditioned on their start and what it shows."""
    normalize_states = dataset.observation_normalizer.normalize
    normalize_actions = dataset.action_normalizer.normalize
    task = get_task(dims.family)

    def gather(data: PlanData, rows) -> PlanBatch:
        states = window_states(data.observations, data.index, rows, dims.horizon, 1)
        actions = window_actions(data.actions, data.index, rows, dims.horizon)
        condition = {"start": normalize_states(states[:, 0])}
        if dims.elements:
            condition["elements"] = task.elements(states[:, 0])[..., None]
            condition["known"] = np.ones((len(rows), 1), np.float32)
        return PlanBatch(
            join_parts(normalize_states(states), normalize_actions(actions)), condition
        )

    return gather


def _gather_states(
    dims: Dimensions,
    observation_normalizer: Normalizer,
    changes: Changes | None,
    options: Plan,
) -> Gather:
    """Plans of states, conditioned on their start and, where there is one, their goal.

    With the goal at the plan's `last` state, or without one, a row is a window. With an
    `arrival` within it, row r is window r // (H - 1) and arrives at its state
    1 + r % (H - 1), or where the window's episode ends; where `data` has lags, a row is
    a window.
    """
    stride, per_window = options.stride, rows_per_window(options)
    task = get_task(dims.family)

    def windows_of(data: PlanData, rows):
        """(windows, states until each arrives or ends)."""
        if not arrives(options):
            return rows, np.full(len(rows), dims.horizon - 1, np.int32)
        if data.lags is not None:
            return rows, data.lags[rows]
        return rows // per_window, 1 + rows % per_window

    def arrive(states, arrived):
        return task.arrive(states, arrived, dims.goal) if arrives(options) else states

    def gather(data: PlanData, rows) -> PlanBatch:
        windows, lags = windows_of(data, rows)
        states = window_arrivals(
            *(data.observations, data.index, windows, lags),
            *(dims.horizon, stride, arrive),
        )
        plans = observation_normalizer.normalize(states)
        ends = {"start": plans[:, 0], "goal": plans[:, -1]}
        condition = {end: ends[end] for end in dims.ends}
        if dims.elements:
            # An episode may end before the lag.
            episode = data.index.episode[windows]
            left = data.index.bounds[episode + 1] - 1 - data.index.start[windows]
            waypoints = plan_waypoints(
                plans, lags.clip(max=left // stride), dims.elements
            )
            condition["elements"] = waypoints[..., : dims.element_size]
            condition["known"] = np.ones((len(rows), 1), np.float32)
        if changes is not None:
            plans = changes.encode(plans)
        return PlanBatch(plans, condition)

    return gather
