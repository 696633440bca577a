"""Recordings of SMAX: what each unit of a winning team saw and did.

The recipe of Duan (2025) for SMACv2: a team that learned by MAPPO fights, battles that
it wins are kept, and each unit's own view until it dies is an episode.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.errors import DataError
from ractd_jax.tasks.smax import environment_id

# Far from the seeds of evaluations, whose battles would be the same.
_FIRST_SEED = 1_000_000
# Battles side by side, and how many are fought at most for one that is won.
_AT_ONCE = 256
_PATIENCE = 20


def smax_kinds(sizes, learned) -> tuple[str, ...]:
    """Such as ``3v3-one_kind``, for all sizes and teams."""
    return tuple(f"{size}v{size}-{each}" for size in sizes for each in learned)


def split_kind(kind: str) -> tuple[int, str]:
    """(3, one_kind) of ``3v3-one_kind``."""
    size, _, learned = kind.partition("-")
    return int(size.partition("v")[0]), learned


def recording_environment(kind: str) -> str:
    """The id of the environment that a kind is recorded in."""
    size, learned = split_kind(kind)
    return environment_id(size, learned, learned)


def behaviour(kind: str) -> dict[str, Any]:
    """What is known of the team that a kind is recorded of.

    Raises:
      ConfigError: JaxMARL, or the team's policy, is not there.
    """
    from ractd_jax.tasks.team_battle import packaged_battle

    size, learned = split_kind(kind)
    policy = packaged_battle(size, learned, learned).policy
    return {**policy.metadata, "algorithm": "MAPPO"}


def record_smax(
    kind: str, num_transitions: int, seed: int, num_workers: int | None = None
) -> Iterator[RecordedEpisode]:
    """Yields the views of the units of winning teams, one battle's after the other's.

    Args:
      kind: such as ``3v3-one_kind``.
      num_transitions: at least as many are recorded.
      seed: of the first battle, counted from a million; the others count on, those that
        were lost included.
      num_workers: without effect, as battles are fought side by side.

    Raises:
      DataError: the team hardly ever wins.
      ConfigError: JaxMARL, or the team's policy, is not there.
    """
    del num_workers
    from ractd_jax.tasks.team_battle import packaged_battle, play_rounds

    size, learned = split_kind(kind)
    team = packaged_battle(size, learned, learned)
    kept = tried = won = 0
    while kept < num_transitions:
        seeds = np.arange(_AT_ONCE) + (_FIRST_SEED + seed + tried)
        rounds = play_rounds(team, seeds)
        tried += _AT_ONCE
        won += int(rounds.won.sum())
        if tried >= 4 * _AT_ONCE and won * _PATIENCE < tried:
            raise DataError(
                f"smax-{kind}",
                expected="a team that wins",
                found=f"{won} of {tried} battles won",
            )
        for row in np.flatnonzero(rounds.won):
            for agent in range(size):
                episode = _view(rounds, row, agent, int(seeds[row]))
                kept += len(episode.rewards)
                yield episode
            if kept >= num_transitions:
                return


def _view(rounds, row: int, agent: int, seed: int) -> RecordedEpisode:
    """The battle until its end, or until the unit dies."""
    alive = rounds.alive[row, : rounds.lengths[row] + 1, agent]
    steps = int(rounds.lengths[row]) if alive.all() else int(alive.argmin())
    return RecordedEpisode(
        np.asarray(rounds.observations[row, : steps + 1, agent], np.float32),
        np.asarray(rounds.actions[row, :steps, agent], np.int64),
        np.asarray(rounds.rewards[row, :steps], np.float32),
        terminated=True,
        truncated=False,
        seed=seed,
        options={"agent": agent},
    )
