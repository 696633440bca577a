"""Inspection of a dataset before a training: numbers, and anything unusual."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike

from ractd_jax.data.episodes import Episodes
from ractd_jax.data.windows import PADDINGS, index_windows
from ractd_jax.errors import DataError
from ractd_jax.inspection import checks as checks
from ractd_jax.inspection.facts import Facts, gather_facts
from ractd_jax.inspection.findings import NOTE, WARNING, Finding, findings_of
from ractd_jax.inspection.jumps import JUMP_DIMENSIONS, JUMP_FACTOR, Jumps, find_jumps
from ractd_jax.normalizers import Normalizer


@dataclasses.dataclass(frozen=True)
class Inspection(Facts):
    """All facts about a dataset; JSON-able by :meth:`to_dict`.

    Attributes:
      horizon: H, steps of a plan.
      scores: the returns as scores; None without reference returns.
      duplicates: groups of episodes with the same contents.
      jumps: steps that may cross an ending that is not flagged.
      windows: padding -> windows of H steps.
      findings: what is odd.
    """

    horizon: int
    scores: checks.Spread | None
    duplicates: tuple[tuple[int, ...], ...]
    jumps: Jumps
    windows: dict[str, int]
    findings: tuple[Finding, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The findings in words."""
        return tuple(map(str, self.findings))

    def to_dict(self) -> dict:
        """Nested plain values; infinite numbers are None, as JSON has no infinity."""
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
    normalizers: Mapping[str, Normalizer] | None = None,
    score_min: float | None = None,
    score_max: float | None = None,
    action_low: ArrayLike = -1.0,
    action_high: ArrayLike = 1.0,
    assumed_bounds: bool = False,
    limit: int | None = None,
) -> Inspection:
    """Inspects `episodes` as a training with plans of `horizon` steps would use them.

    Args:
      episodes: at least one; values may be NaN or infinite.
      horizon: H, steps of a plan.
      name: name of the data.
      normalizers: of ``observations`` and ``actions``; by default min-max.
      score_min: return that scores 0; None for no scores.
      score_max: return that scores 100; None for no scores.
      action_low: lower bound of the actions, a number or [A], environment units.
      action_high: upper bound.
      assumed_bounds: whether the bounds are a guess.
      limit: the environment's time limit in steps; None to guess it from the timeouts.
    """
    facts = gather_facts(
        episodes,
        name=name,
        normalizers=normalizers,
        bounds=(action_low, action_high),
        assumed_bounds=assumed_bounds,
        limit=limit,
    )
    scores = None
    if score_min is not None and score_max is not None and score_min != score_max:
        with np.errstate(invalid="ignore"):
            returns = episodes.returns
        scores = checks.spread(100.0 * (returns - score_min) / (score_max - score_min))
    found = Inspection(
        **vars(facts),
        horizon=horizon,
        scores=scores,
        duplicates=checks.duplicate_groups(episodes),
        jumps=find_jumps(episodes, *checks.column_range(episodes.observations)),
        windows={p: _count_windows(episodes, horizon, p) for p in PADDINGS},
    )
    odd = (*findings_of(facts), *_odd_structure(found))
    return dataclasses.replace(found, findings=odd)


def _count_windows(episodes: Episodes, horizon: int, padding: str) -> int:
    try:
        return len(index_windows(episodes, horizon, padding).start)
    except DataError:
        return 0


def _odd_structure(found: Inspection) -> Iterator[Finding]:
    """Findings that cost a pass over all values or more."""
    repeats = sum(len(group) - 1 for group in found.duplicates)
    if repeats:
        first, second, *_ = found.duplicates[0]
        yield Finding(
            NOTE,
            f"Episodes that repeat an earlier one: {repeats} (episode {second} is "
            f"episode {first} again).",
            "They weigh more in a training.",
        )
    jumps = found.jumps
    if jumps.count:
        yield Finding(
            WARNING,
            f"Steps that change {JUMP_DIMENSIONS} dimensions or more of the "
            f"observation over {JUMP_FACTOR:g} times as much as 99% of the steps do: "
            f"{jumps.count} (the first from transition {jumps.first_transition} to the "
            "next).",
            "Are endings missing?",
        )
    if not found.windows["drop"]:
        yield Finding(
            NOTE,
            f"No episode is longer than the horizon of {found.horizon} steps: "
            "padding=drop leaves no window.",
            "Take config.plan.padding=repeat_last.",
        )
