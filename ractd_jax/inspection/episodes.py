"""Inspection of a dataset before a training: numbers, and anything unusual."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from ractd_jax.data.episodes import Episodes
from ractd_jax.data.windows import PADDINGS, index_windows
from ractd_jax.errors import DataError
from ractd_jax.inspection import checks as checks
from ractd_jax.inspection.jumps import JUMP_DIMENSIONS, JUMP_FACTOR, Jumps, find_jumps

_MANY_SATURATED = 0.9


@dataclasses.dataclass(frozen=True)
class Inspection:
    """Facts about E episodes of N transitions; JSON-able by :meth:`to_dict`.

    Attributes:
      name: the file or dataset id.
      num_episodes: E.
      num_transitions: N.
      observation_dim: O.
      action_dim: A.
      goal_dim: G; None for data without goals.
      horizon: H, steps of a plan.
      lengths: steps of the episodes.
      returns: true returns of the episodes; None when none is finite.
      scores: the same as scores; None without reference returns.
      rewards: rewards of the steps; None when none is finite.
      constant_observations: dimension -> its only value.
      constant_actions: dimension -> its only value.
      non_finite: field -> how many of its values are NaN or infinite.
      actions: how the actions lie in their bounds.
      duplicates: groups of episodes with the same contents.
      endings: how the episodes end.
      limit: steps of the time limit, given or guessed; None for neither.
      beyond_limit: episodes longer than that.
      one_step: episodes of one step.
      jumps: steps that may cross an ending that is not flagged.
      windows: padding -> windows of H steps.
      warnings: what is odd, a sentence each.
    """

    name: str
    num_episodes: int
    num_transitions: int
    observation_dim: int
    action_dim: int
    goal_dim: int | None
    horizon: int
    lengths: checks.Spread
    returns: checks.Spread | None
    scores: checks.Spread | None
    rewards: checks.Spread | None
    constant_observations: dict[int, float]
    constant_actions: dict[int, float]
    non_finite: dict[str, int]
    actions: checks.ActionRange
    duplicates: tuple[tuple[int, ...], ...]
    endings: checks.Endings
    limit: int | None
    beyond_limit: int
    one_step: int
    jumps: Jumps
    windows: dict[str, int]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict:
        """Nested plain values; infinite bounds are None, as JSON has no infinity."""
        return _plain(dataclasses.asdict(self))


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def inspect_episodes(
    episodes: Episodes,
    horizon: int,
    *,
    name: str = "dataset",
    score_min: float | None = None,
    score_max: float | None = None,
    action_low: ArrayLike = -1.0,
    action_high: ArrayLike = 1.0,
    limit: int | None = None,
) -> Inspection:
    """Inspects `episodes` as a training with plans of `horizon` steps would use them.

    Args:
      episodes: at least one; values may be NaN or infinite.
      horizon: H, steps of a plan.
      name: name of the data.
      score_min: return that scores 0; None for no scores.
      score_max: return that scores 100; None for no scores.
      action_low: lower bound of the actions, a number or [A], environment units.
      action_high: upper bound.
      limit: the environment's time limit in steps; None to guess it from the timeouts.
    """
    # Infinite rewards of both signs add up to NaN, which is left out.
    with np.errstate(invalid="ignore"):
        returns = episodes.returns
    scores = None
    if score_min is not None and score_max is not None and score_min != score_max:
        scores = checks.spread(100.0 * (returns - score_min) / (score_max - score_min))
    limit = checks.usual_limit(episodes) if limit is None else limit
    goals = episodes.goals
    matrices = {"observations": episodes.observations, "actions": episodes.actions}
    fields = matrices | {"rewards": episodes.rewards}
    fields |= {} if goals is None else {"goals": goals}
    ranges = {key: checks.column_range(matrix) for key, matrix in matrices.items()}
    found = Inspection(
        name=name,
        num_episodes=episodes.num_episodes,
        num_transitions=episodes.num_transitions,
        observation_dim=episodes.observations.shape[1],
        action_dim=episodes.actions.shape[1],
        goal_dim=None if goals is None else goals.shape[1],
        horizon=horizon,
        lengths=checks.spread(episodes.lengths),
        returns=checks.spread(returns),
        scores=scores,
        rewards=checks.spread(episodes.rewards),
        constant_observations=checks.constant_columns(*ranges["observations"]),
        constant_actions=checks.constant_columns(*ranges["actions"]),
        non_finite={key: checks.count_non_finite(f) for key, f in fields.items()},
        actions=checks.action_range(episodes.actions, action_low, action_high),
        duplicates=checks.duplicate_groups(episodes),
        endings=checks.count_endings(episodes),
        limit=limit,
        beyond_limit=0 if limit is None else int((episodes.lengths > limit).sum()),
        one_step=int((episodes.lengths == 1).sum()),
        jumps=find_jumps(episodes, *ranges["observations"]),
        windows={p: _count_windows(episodes, horizon, p) for p in PADDINGS},
    )
    odd = (*_odd_values(found), *_odd_endings(found), *_odd_structure(found))
    return dataclasses.replace(found, warnings=odd)


def _count_windows(episodes: Episodes, horizon: int, padding: str) -> int:
    try:
        return len(index_windows(episodes, horizon, padding).start)
    except DataError:
        return 0


def _odd_values(found: Inspection) -> Iterator[str]:
    for field, count in found.non_finite.items():
        if count:
            yield f"NaN or infinite values in {field}: {count}."
    actions = found.actions
    if actions.outside:
        yield (
            f"Action values outside their bounds: {actions.outside} "
            f"({100 * actions.outside_share:.2g}%), by {actions.worst:.3g} at worst "
            f"(transition {actions.worst_transition}, "
            f"dimension {actions.worst_dimension})."
        )
    if actions.saturated_share > _MANY_SATURATED:
        yield (
            f"{actions.saturated_share:.0%} of the action values lie at a bound: were "
            "they clipped, or are the bounds wrong?"
        )
    if found.num_transitions > 1:
        yield from _odd_constants(found)


def _odd_constants(found: Inspection) -> Iterator[str]:
    # A few constant observations, such as a goal's, are common and do no harm.
    if len(found.constant_observations) == found.observation_dim:
        yield "Every observation is the same."
    for dimension, value in found.constant_actions.items():
        yield f"Action dimension {dimension} is always {value:g}."
    if found.rewards and found.rewards.minimum == found.rewards.maximum:
        yield f"Every reward is {found.rewards.minimum:g}."


def _odd_endings(found: Inspection) -> Iterator[str]:
    ends = found.endings
    if ends.both:
        yield f"Episodes that end by a terminal and a timeout at once: {ends.both}."
    if ends.early:
        yield f"Endings flagged before the last step of an episode: {ends.early}."
    if found.num_episodes == 1 and ends.neither:
        yield (
            "No step is a terminal or a timeout: the data is one episode of "
            f"{found.num_transitions} steps."
        )
    if found.num_episodes == found.num_transitions > 1:
        by_terminal = ends.terminal + ends.both == found.num_episodes
        yield f"Every step {'is a terminal' if by_terminal else 'ends an episode'}."
        return
    if found.one_step:
        yield f"Episodes of one step: {found.one_step}."
    lengths = found.lengths
    same = found.num_episodes > 2 and lengths.minimum == lengths.maximum
    if same and ends.timeout + ends.both == 0:
        yield (
            f"Every episode has {lengths.maximum:.0f} steps and none ends by a "
            "timeout: is a time limit flagged as a terminal?"
        )


def _odd_structure(found: Inspection) -> Iterator[str]:
    if found.beyond_limit:
        yield (
            f"Episodes longer than the usual limit of {found.limit} steps: "
            f"{found.beyond_limit} (the longest has {found.lengths.maximum:.0f})."
        )
    repeats = sum(len(group) - 1 for group in found.duplicates)
    if repeats:
        first, second, *_ = found.duplicates[0]
        yield (
            f"Episodes that repeat an earlier one: {repeats} (episode {second} is "
            f"episode {first} again)."
        )
    jumps = found.jumps
    if jumps.count:
        yield (
            f"Steps that change {JUMP_DIMENSIONS} dimensions or more of the "
            f"observation over {JUMP_FACTOR:g} times as much as 99% of the steps do: "
            f"{jumps.count} (the first from transition {jumps.first_transition} to the "
            "next). Are endings missing?"
        )
    if not found.windows["drop"]:
        yield (
            f"No episode is longer than the horizon of {found.horizon} steps: "
            "padding=drop leaves no window."
        )
