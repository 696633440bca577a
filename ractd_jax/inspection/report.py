"""An inspection as Markdown and as one picture."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np

from ractd_jax.data.episodes import Episodes
from ractd_jax.files import save_figure
from ractd_jax.inspection.checks import Spread, column_range
from ractd_jax.inspection.episodes import Inspection
from ractd_jax.tables import markdown_table

_QUANTILES = ("min", "5%", "25%", "median", "75%", "95%", "max", "mean")
# More constant dimensions than this are listed without their values.
_LISTED = 4
# Steps of the example episode in the picture, and cells along the maze's long side.
_LONGEST = 1000
_CELLS = 200
# Most lines of a legend.
_LEGEND = 10


def format_inspection(found: Inspection) -> str:
    """The inspection as Markdown; its verdict is the line that starts so."""
    goals = "none" if found.goal_dim is None else found.goal_dim
    lines = [
        f"# {found.name}",
        "",
        f"{found.num_episodes} episodes, {found.num_transitions} transitions; "
        f"dimensions: observations {found.observation_dim}, actions "
        f"{found.action_dim}, goals {goals}.",
        "",
        *_verdict(found.warnings),
        "",
        markdown_table(("", *_QUANTILES), _spread_rows(found), rule=" --- "),
        "",
        markdown_table(("check", "found"), _check_rows(found), rule=" --- "),
    ]
    return "\n".join(lines)


def _verdict(warnings: Sequence[str]) -> list[str]:
    if not warnings:
        return ["Verdict: no problems found."]
    things = "1 thing" if len(warnings) == 1 else f"{len(warnings)} things"
    return [f"Verdict: {things} to look at.", "", *(f"* {w}" for w in warnings)]


def _spread_rows(found: Inspection) -> list[list[str]]:
    named = {
        "steps of an episode": found.lengths,
        "return": found.returns,
        "score": found.scores,
        "reward of a step": found.rewards,
    }
    return [[name, *_cells(spread)] for name, spread in named.items()]


def _cells(spread: Spread | None) -> list[str]:
    if spread is None:
        return ["-"] * len(_QUANTILES)
    return [f"{value:.5g}" for value in dataclasses.astuple(spread)]


def _check_rows(found: Inspection) -> list[tuple[str, object]]:
    actions, ends = found.actions, found.endings
    bounds = f"[{_only(actions.low)}, {_only(actions.high)}]"
    limit = "unknown" if found.limit is None else f"{found.limit} steps"
    return [
        ("constant observation dimensions", _listed(found.constant_observations)),
        ("constant action dimensions", _listed(found.constant_actions)),
        ("NaN or infinite values", sum(found.non_finite.values())),
        (f"action values outside {bounds}", actions.outside),
        ("action values at a bound", f"{actions.saturated_share:.1%}"),
        (
            "episodes that repeat an earlier one",
            sum(len(g) - 1 for g in found.duplicates),
        ),
        ("episodes ended by a terminal", ends.terminal),
        ("... by a timeout", ends.timeout),
        ("... by both at once", ends.both),
        ("... by neither, cut off", ends.neither),
        ("usual time limit", limit),
        ("largest step, in multiples of the usual", f"{found.jumps.largest:.1f}"),
        *(
            (f"windows of {found.horizon} steps, padding={padding}", count)
            for padding, count in found.windows.items()
        ),
    ]


def _only(bounds: Sequence[float]) -> str:
    return f"{bounds[0]:g}" if len(set(bounds)) == 1 else "..."


def _listed(constants: Mapping[int, float]) -> str:
    """Such as ``2 (always 0.5), 7 (always 0)``, or ``30-59`` when there are many."""
    if not constants:
        return "none"
    if len(constants) <= _LISTED:
        return ", ".join(f"{i} (always {v:g})" for i, v in constants.items())
    indices = np.array(sorted(constants))
    runs = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    spans = (f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs)
    return f"{len(indices)}: " + ", ".join(spans)


def draw_inspection(
    path: str | os.PathLike,
    episodes: Episodes,
    *,
    title: str = "",
    score_min: float | None = None,
    score_max: float | None = None,
    walls: np.ndarray | None = None,
    extent: tuple[float, float, float, float] | None = None,
) -> None:
    """Returns, lengths, the episode of median return, and actions or the maze.

    Args:
      path: the picture; its ending is the format.
      episodes: at least one; values may be NaN or infinite.
      title: over the picture.
      score_min: return that scores 0; None for no axis of scores.
      score_max: return that scores 100; None for no axis of scores.
      walls: [rows, cols] bool map of a maze, row 0 at the top; the first two
        observation dimensions are x and y. None for no maze.
      extent: (left, right, bottom, top) of the map, environment units.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 7.5), layout="constrained")
    # A dataset's name is no formula, whatever dollar signs are in it.
    figure.suptitle(title, parse_math=False)
    grid = figure.add_gridspec(2, 2)
    with np.errstate(invalid="ignore"):
        returns = episodes.returns
    axis = figure.add_subplot(grid[0, 0])
    _draw_histogram(axis, returns, "return", "episodes")
    if score_min is not None and score_max is not None and score_min != score_max:
        span = (score_max - score_min) / 100.0
        scale = (lambda r: (r - score_min) / span, lambda s: s * span + score_min)
        axis.secondary_xaxis("top", functions=scale).set_xlabel("score")
    axis = figure.add_subplot(grid[0, 1])
    _draw_histogram(axis, episodes.lengths, "steps of an episode", "episodes")
    _draw_example(figure, grid[1, 0], episodes, returns)
    axis = figure.add_subplot(grid[1, 1])
    if walls is None:
        _draw_actions(axis, episodes.actions)
    else:
        _draw_maze(axis, episodes.observations[:, :2], walls, extent)
    save_figure(figure, path, 110)


def _draw_histogram(axis, values: np.ndarray, label: str, count: str) -> None:
    axis.hist(values[np.isfinite(values)], bins=50)
    axis.set(xlabel=label, ylabel=count)
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_example(figure, cell, episodes: Episodes, returns: np.ndarray) -> None:
    """Observations as a heat map over time, each in its range, above the rewards."""
    known = np.flatnonzero(np.isfinite(returns))
    middle = known[np.argsort(returns[known])[len(known) // 2]] if len(known) else 0
    start, stop = episodes.starts[middle : middle + 2]
    shown = slice(start, min(stop, start + _LONGEST))
    low, high = column_range(episodes.observations)
    span = np.where(high > low, high - low, 1.0)
    upper, lower = cell.subgridspec(2, 1, height_ratios=(3, 1)).subplots(sharex=True)
    upper.imshow(
        ((episodes.observations[shown] - low) / span).T,
        aspect="auto",
        interpolation="nearest",
        vmin=0.0,
        vmax=1.0,
    )
    upper.set(ylabel="observation", title=f"episode {middle}, of median return")
    lower.plot(episodes.rewards[shown], linewidth=0.8)
    length = "" if stop - start <= _LONGEST else f", the first of {stop - start}"
    lower.set(ylabel="reward", xlabel=f"step{length}")


def _draw_actions(axis, actions: np.ndarray) -> None:
    for dimension, values in enumerate(actions.T):
        counts, edges = np.histogram(values[np.isfinite(values)], bins=80)
        axis.stairs(counts, edges, label=str(dimension))
    axis.set(xlabel="action", ylabel="steps")
    axis.spines[["top", "right"]].set_visible(False)
    if actions.shape[1] <= _LEGEND:
        axis.legend(title="dimension", loc="center left", bbox_to_anchor=(1.0, 0.5))


def _draw_maze(axis, positions: np.ndarray, walls: np.ndarray, extent) -> None:
    from matplotlib.colors import LogNorm

    if extent is None:
        raise ValueError("walls need the extent of their map")
    left, right, bottom, top = extent
    longest = max(right - left, top - bottom)
    cells = [
        max(1, round(_CELLS * side / longest)) for side in (right - left, top - bottom)
    ]
    x, y = positions[np.isfinite(positions).all(axis=1)].T
    visits, _, _ = np.histogram2d(x, y, cells, [(left, right), (bottom, top)])
    axis.imshow(walls, extent=extent, cmap="Greys", vmin=0, vmax=2)
    visited = np.ma.masked_equal(visits.T, 0)
    # Nothing in the maze leaves no scale to take from the data.
    norm = LogNorm(vmin=1, vmax=max(2, visits.max()))
    image = axis.imshow(visited, extent=extent, origin="lower", norm=norm)
    axis.figure.colorbar(image, ax=axis, label="steps there")
    axis.set(xlabel="x", ylabel="y", aspect="equal")
