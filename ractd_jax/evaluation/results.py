"""Raw results of evaluated episodes, in memory and as files; needs numpy only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ractd_jax.errors import DataError
from ractd_jax.files import completed


class EpisodeResults(NamedTuple):
    """What E evaluation episodes gave, raw.

    Attributes:
      returns: [E] float64, sums of the rewards that the environment paid.
      lengths: [E] int64, steps.
      seeds: [E] int64, seed of each reset.
      running_max_returns: [E] float64, sums over steps of the largest reward so far.
        Not a return: it is what the evaluator in Duan et al.'s code reports, kept
        only to stand beside the published tables.
      seconds: wall time of the episodes, compilation left out.
      failures: [E] strings, of the episodes that the environment broke off, by an
        exception or numbers that are not finite: which, its seed, the step and why.
        Their returns and lengths are those until then. Empty for the others.
      events: [E, K] int64, number of the step (from 1) after which each event of the
        environment family had happened first, or -1 for never.
      event_names: [K] strings. Files have the two only where a family names events.
    """

    returns: np.ndarray
    lengths: np.ndarray
    seeds: np.ndarray
    running_max_returns: np.ndarray
    seconds: float
    failures: np.ndarray = np.zeros(0, "U1")
    events: np.ndarray = np.zeros((0, 0), np.int64)
    event_names: np.ndarray = np.zeros(0, "U1")

    @property
    def num_failed(self) -> int:
        """Episodes that the environment broke off."""
        return int(np.count_nonzero(self.failures != ""))

    @property
    def steps_per_second(self) -> float:
        return float(self.lengths.sum() / self.seconds)


def save_arrays(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as npz; the file appears only when complete."""
    with completed(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def stored_arrays(results: EpisodeResults) -> dict[str, np.ndarray]:
    """The fields that a file has: those of events only where there are some."""
    has_events = len(results.event_names) > 0
    return {
        name: value
        for name, value in results._asdict().items()
        if has_events or name not in ("events", "event_names")
    }


def save_results(path: str | os.PathLike, results: EpisodeResults) -> None:
    """Writes the raw results as npz."""
    save_arrays(path, stored_arrays(results))


def load_results(path: str | os.PathLike) -> EpisodeResults:
    """Reads what :func:`save_results` wrote.

    Raises:
      DataError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            defaults = EpisodeResults._field_defaults
            fields = {
                name: stored[name]
                for name in EpisodeResults._fields
                if name in stored or name not in defaults
            }
    except Exception as error:  # zipfile and numpy each raise their own
        raise DataError(path, expected="evaluation results", found=error) from None
    return EpisodeResults(**fields)


class StateResults(NamedTuple):
    """Results of E episodes, and the plans that were made in them.

    Attributes:
      episodes: returns and lengths.
      paths: [E, T, O] float32 visited states; NaN after an episode's end.
      first_plans: [E, H, O] float32, the plan that each episode began with.
      goals: [E, G] float32, the goal that it was made for; G may be 0.
      reached: [E] bool, whether the goal was reached, as the environment family says.
      collided: [P] bool of each plan made, whether something is in its way; empty where
        the family does not know.
      seconds_per_plan: of the calls to the planner, the first of each batch size left
        out; NaN when there was none.
    """

    episodes: EpisodeResults
    paths: np.ndarray
    first_plans: np.ndarray
    goals: np.ndarray
    reached: np.ndarray
    collided: np.ndarray
    seconds_per_plan: float


def save_state_results(path: str | os.PathLike, results: StateResults) -> None:
    """Writes the raw results as npz; appears only when complete."""
    arrays = {**results._asdict(), **stored_arrays(results.episodes)}
    del arrays["episodes"]
    save_arrays(path, arrays)
