"""Parts of the pictures of mazes; lengths on paper are in inches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ractd_jax.tasks.maze_map import MazeMap

GAP = 0.08
LINE = 0.17  # of text
SMALL, LARGE = 8, 9  # points
INK, FAINT, RED = "#1a1a1a", "#555b66", "#c1121f"
PATH = {"color": INK, "lw": 0.9}
MISSED = {"color": RED, "lw": 0.9}
_WALL, _GOAL = "#c8ccd4", "#e69f00"
_START_MARK = {"marker": "o", "ms": 5, "mfc": "white", "mec": INK, "mew": 1.1}
_GOAL_MARK = {"marker": "*", "ms": 8, "mfc": _GOAL, "mec": INK, "mew": 0.6}
_WAYPOINT_MARK = {"marker": "s", "ms": 4.5, "mfc": INK, "mec": "white", "mew": 0.6}
_WALL_MARK = {"marker": "o", "ms": 4, "mfc": "#21918c", "mec": RED, "mew": 1.0}
_MARGIN = 0.04
_BORDER = 0.5  # m of the outer walls
# Where viridis stops: its yellow end cannot be seen on white.
_LAST_COLOUR = 0.92


def aspect(maze: MazeMap) -> float:
    """Height of a cell's picture by its width."""
    left, right, bottom, top = maze.extent
    return (top - bottom - 2 * _BORDER) / (right - left - 2 * _BORDER)


def colours(count: int) -> np.ndarray:
    """[count, 4] colours along time."""
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0.0, _LAST_COLOUR, count))


class Page:
    """A figure with positions counted from the upper left."""

    def __init__(self, width: float, height: float):
        from matplotlib.figure import Figure

        self.figure = Figure(
            figsize=(width + 2 * _MARGIN, height + 2 * _MARGIN), facecolor="white"
        )

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The figure's own coordinates."""
        width, height = self.figure.get_size_inches()
        return (x + _MARGIN) / width, 1.0 - (y + _MARGIN) / height

    def add_maze(
        self, maze: MazeMap, left: float, top: float, width: float, title: str, **style
    ) -> Any:
        """Axes with the walls, half of the outer ones, and `title` above `top`."""
        from matplotlib.colors import ListedColormap

        x, bottom = self.at(left, top + width * aspect(maze))
        right, y = self.at(left + width, top)
        axis = self.figure.add_axes((x, bottom, right - x, y - bottom))
        axis.imshow(
            maze.walls,
            cmap=ListedColormap(["white", _WALL]),
            extent=maze.extent,
            vmin=0,
            vmax=1,
            interpolation="nearest",
        )
        low_x, high_x, low_y, high_y = maze.extent
        axis.set_xlim(low_x + _BORDER, high_x - _BORDER)
        axis.set_ylim(low_y + _BORDER, high_y - _BORDER)
        axis.set_axis_off()
        axis.set_title(title, pad=3, **style)
        return axis

    def add_heading(self, text: str, left: float, right: float) -> None:
        """Text over a rule, at the top."""
        from matplotlib.lines import Line2D

        (x, y), (end, _) = self.at(left, 1.15 * LINE), self.at(right, 0.0)
        self.figure.add_artist(Line2D([x, end], [y, y], color=FAINT, lw=0.7))
        middle = self.at((left + right) / 2, LINE)
        style = {"ha": "center", "va": "bottom", "fontweight": "bold"}
        self.figure.text(*middle, text, fontsize=LARGE, **style)

    def add_arrow(self, left: float, right: float, y: float) -> None:
        from matplotlib.patches import FancyArrowPatch

        ends = self.at(left, y), self.at(right, y)
        style = {"arrowstyle": "-|>", "mutation_scale": 8, "color": INK, "lw": 1.0}
        self.figure.add_artist(FancyArrowPatch(*ends, shrinkA=0, shrinkB=0, **style))

    def add_legend(self, entries: Mapping[str, Any], num_columns: int) -> None:
        """A legend at the bottom, with `entries` from :func:`legend_entries`."""
        from matplotlib.legend_handler import HandlerTuple

        self.figure.legend(
            list(entries.values()),
            list(entries),
            handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
            loc="lower center",
            ncols=num_columns,
            frameon=False,
            fontsize=SMALL,
            labelcolor=FAINT,
            borderaxespad=0.1,
            borderpad=0,
            columnspacing=1.6,
        )


def draw_states(
    axis: Any, plan: np.ndarray, in_wall: np.ndarray | None = None, area: float = 7.0
) -> None:
    """Dots of `area` points^2 along time, on red where `in_wall` [H] says so."""
    if in_wall is not None and in_wall.any():
        axis.scatter(*plan[in_wall, :2].T, s=area + 12.0, c=RED, lw=0, zorder=1.9)
    axis.scatter(*plan[:, :2].T, s=area, c=colours(len(plan)), lw=0, zorder=2)


def draw_ends(axis: Any, start: np.ndarray | None, goal: np.ndarray) -> None:
    if start is not None:
        draw_start(axis, start)
    draw_goal(axis, goal)


def draw_start(axis: Any, start: np.ndarray) -> None:
    axis.plot(*start[:2], **_START_MARK, zorder=4)


def draw_waypoints(axis: Any, waypoints: np.ndarray) -> None:
    axis.plot(*waypoints.T, ls="none", **_WAYPOINT_MARK, zorder=4)


def draw_goal(axis: Any, goal: np.ndarray) -> None:
    axis.plot(*goal[:2], **_GOAL_MARK, zorder=4)


def draw_goal_circle(axis: Any, goal: np.ndarray, radius: float) -> None:
    from matplotlib.patches import Circle

    axis.add_patch(Circle(goal[:2], radius, fc=_GOAL + "30", ec=_GOAL, lw=1.0))


def draw_caption(axis: Any, text: str, colour: str, side: str, line: int) -> None:
    """Small text below the axes, from the `side` on, in a line counted from 0."""
    axis.annotate(
        text,
        (0.0 if side == "left" else 1.0, 0.0),
        xytext=(0.0, -2.0 - 72.0 * LINE * line),
        xycoords="axes fraction",
        textcoords="offset points",
        ha=side,
        va="top",
        fontsize=SMALL,
        color=colour,
    )


def legend_entries(kinds: Sequence[str]) -> dict[str, Any]:
    """Text -> handle of what `kinds` has: plan, wall, path, missed, waypoint, ..."""
    from matplotlib.lines import Line2D

    def mark(ls="none", **style):
        return Line2D([], [], ls=ls, **style)

    entries = {}
    if "plan" in kinds:
        dots = [mark(marker="o", ms=3, color=colour) for colour in colours(7)]
        entries["planned states, first to last"] = tuple(dots)
    if "wall" in kinds:
        entries["in a wall"] = mark(**_WALL_MARK)
    if "path" in kinds:
        entries["executed"] = mark("-", **PATH)
    if "missed" in kinds:
        entries["executed, goal not reached"] = mark("-", **MISSED)
    if "waypoint" in kinds:
        entries["waypoint that is asked for"] = mark(**_WAYPOINT_MARK)
    if "start" in kinds:
        entries["start"] = mark(**_START_MARK)
    if "goal" in kinds:
        entries["goal, paid in the circle"] = mark(**_GOAL_MARK)
    return entries
