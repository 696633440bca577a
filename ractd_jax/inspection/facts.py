"""What a training needs to know of its data: facts that cost little to find out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from ractd_jax.data.episodes import Episodes
from ractd_jax.inspection import checks as checks
from ractd_jax.inspection.columns import Column, describe_columns
from ractd_jax.normalizers import Normalizer


@dataclasses.dataclass(frozen=True)
class Facts:
    """Facts about E episodes of N transitions.

    Attributes:
      name: the file or dataset id.
      num_episodes: E.
      num_transitions: N.
      observation_dim: O.
      action_dim: A.
      goal_dim: G; None for data without goals.
      lengths: steps of the episodes.
      returns: true returns of the episodes; None when none is finite.
      rewards: rewards of the steps; None when none is finite.
      columns: field -> how the values of its dimensions lie.
      constant_observations: dimension -> its only value, to float32's precision.
      constant_actions: dimension -> its only value, to float32's precision.
      non_finite: field -> how many of its values are NaN or infinite.
      actions: how the actions lie in their bounds.
      assumed_bounds: whether the bounds are a guess.
      whole_actions: whether every action value is a whole number.
      endings: how the episodes end.
      limit: steps of the time limit, given or guessed; None for neither.
      beyond_limit: episodes longer than that.
      one_step: episodes of one step.
    """

    name: str
    num_episodes: int
    num_transitions: int
    observation_dim: int
    action_dim: int
    goal_dim: int | None
    lengths: checks.Spread
    returns: checks.Spread | None
    rewards: checks.Spread | None
    columns: dict[str, tuple[Column, ...]]
    constant_observations: dict[int, float]
    constant_actions: dict[int, float]
    non_finite: dict[str, int]
    actions: checks.ActionRange
    assumed_bounds: bool
    whole_actions: bool
    endings: checks.Endings
    limit: int | None
    beyond_limit: int
    one_step: int


def gather_facts(
    episodes: Episodes,
    *,
    name: str = "dataset",
    normalizers: Mapping[str, Normalizer] | None = None,
    bounds: tuple[ArrayLike, ArrayLike] = (-1.0, 1.0),
    assumed_bounds: bool = False,
    limit: int | None = None,
) -> Facts:
    """Facts about `episodes`; values may be NaN or infinite.

    Args:
      episodes: at least one.
      name: name of the data.
      normalizers: of ``observations`` and ``actions``; by default min-max.
      bounds: of the actions, two numbers or two [A].
      assumed_bounds: whether the bounds are a guess.
      limit: the environment's time limit in steps; None to guess it from the timeouts.
    """
    limit = checks.usual_limit(episodes) if limit is None else limit
    goals, actions = episodes.goals, episodes.actions
    matrices = {"observations": episodes.observations, "actions": actions}
    own = normalizers or {}
    columns = {
        field: describe_columns(array, own.get(field))
        for field, array in matrices.items()
    }
    columns["rewards"] = describe_columns(episodes.rewards[:, None])
    fields = matrices | {"rewards": episodes.rewards}
    fields |= {} if goals is None else {"goals": goals}
    # Infinite rewards of both signs add up to NaN, which is left out.
    with np.errstate(invalid="ignore"):
        returns = checks.spread(episodes.returns)
    return Facts(
        name=name,
        num_episodes=episodes.num_episodes,
        num_transitions=episodes.num_transitions,
        observation_dim=episodes.observations.shape[1],
        action_dim=actions.shape[1],
        goal_dim=None if goals is None else goals.shape[1],
        lengths=checks.spread(episodes.lengths),
        returns=returns,
        rewards=checks.spread(episodes.rewards),
        columns=columns,
        constant_observations=_constants(columns["observations"]),
        constant_actions=_constants(columns["actions"]),
        non_finite={key: checks.count_non_finite(f) for key, f in fields.items()},
        actions=checks.action_range(actions, *bounds),
        assumed_bounds=assumed_bounds,
        whole_actions=checks.are_whole(actions),
        endings=checks.count_endings(episodes),
        limit=limit,
        beyond_limit=0 if limit is None else int((episodes.lengths > limit).sum()),
        one_step=int((episodes.lengths == 1).sum()),
    )


def _constants(columns: tuple[Column, ...]) -> dict[int, float]:
    return {i: column.low for i, column in enumerate(columns) if column.is_constant}
