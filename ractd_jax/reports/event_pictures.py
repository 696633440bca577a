"""When the events of episodes happened: the kitchen's subtasks over time."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from ractd_jax.evaluation.results import EpisodeResults
from ractd_jax.files import save_figure
from ractd_jax.reports.aggregate_pictures import COLORS

_DPI = 120


def draw_events(path: str | os.PathLike, results: Mapping[str, EpisodeResults]) -> bool:
    """Draws each planner's events: by episode, and as shares of episodes over time.

    On the left a row is an episode, from its first step to its last, those with the
    most events on top; on the right is the share of episodes in which an event has
    happened by a step.

    Args:
      path: PNG to write.
      results: label -> raw results; those without events are left out.

    Returns:
      Whether there was something to draw; else nothing is written.
    """
    results = {label: r for label, r in results.items() if len(r.event_names)}
    if not results:
        return False
    from matplotlib.figure import Figure

    size = (9.0, 2.6 * len(results) + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    rows = figure.subplots(len(results), 2, sharex=True, squeeze=False)
    for (left, right), (label, found) in zip(rows, results.items(), strict=True):
        _draw_episodes(left, found)
        _draw_shares(right, found)
        left.set_ylabel(f"{label}\nepisodes")
        right.set_ylabel("share of episodes")
        for axis in (left, right):
            axis.spines[["top", "right"]].set_visible(False)
    for axis in rows[-1]:
        axis.set_xlabel("step")
    handles, labels = rows[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    save_figure(figure, path, _DPI)
    return True


def episode_order(events: np.ndarray) -> np.ndarray:
    """[E] episodes by the number of their events, the most and soonest first.

    Args:
      events: [E, K] steps, -1 for never.
    """
    return np.lexsort((events.max(axis=1), -(events >= 0).sum(axis=1)))


def shares_over_time(steps: np.ndarray, last: int) -> np.ndarray:
    """[last + 1] share of episodes in which an event has happened by step 0, 1, ...

    Args:
      steps: [E] steps of one event, -1 for never.
      last: the longest episode's length.
    """
    counts = np.bincount(steps[steps >= 0], minlength=last + 1)
    return np.cumsum(counts) / len(steps)


def _draw_episodes(axis, found: EpisodeResults) -> None:
    order = episode_order(found.events)
    places = np.arange(len(order))
    axis.hlines(places, 0, found.lengths[order], color="0.85", linewidth=0.8, zorder=1)
    size = float(np.clip(600 / len(order), 4, 36))
    for color, steps in zip(_colors(found), found.events[order].T, strict=True):
        done = steps >= 0
        axis.scatter(steps[done], places[done], s=size, color=color, zorder=2)
    axis.set_ylim(len(order) - 0.5, -0.5)


def _draw_shares(axis, found: EpisodeResults) -> None:
    last = int(found.lengths.max())
    pairs = zip(_colors(found), found.event_names, found.events.T, strict=True)
    for color, name, steps in pairs:
        shares = shares_over_time(steps, last)
        label = str(name)
        axis.step(np.arange(last + 1), shares, where="post", color=color, label=label)
    axis.set_ylim(-0.02, 1.02)


def _colors(found: EpisodeResults) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(len(found.event_names))]
