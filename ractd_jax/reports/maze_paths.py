"""What a planner of states did in a maze: all paths, and first plans beside some."""

from __future__ import annotations

import os

import numpy as np

from ractd_jax.evaluation.results import StateResults
from ractd_jax.files import save_figure
from ractd_jax.reports import maze_cells as cells
from ractd_jax.reports.maze_cells import GAP, LINE
from ractd_jax.tasks.maze_map import MazeMap

_WIDTH, _LARGEST_CELL = 9.0, 3.0
_NUM_PLANS = 3  # episodes that are shown with their plan
_DPI = 160


def draw_paths(path: str | os.PathLike, maze: MazeMap, results: StateResults) -> None:
    """Draws all paths over a maze, and the first three with the plans they began with.

    Paths that reached the goal are black, the others red.

    Args:
      path: PNG to write.
      maze: its walls.
      results: of the evaluation; states begin with x and y, in metres.
    """
    shown = min(_NUM_PLANS, len(results.paths))
    width = min(_LARGEST_CELL, (_WIDTH - shown * GAP) / (1 + shown))
    top, height = 1.2 * LINE, width * cells.aspect(maze)
    page = cells.Page((1 + shown) * (width + GAP) - GAP, top + height + 3 * LINE)
    style = {"fontsize": cells.LARGE, "fontweight": "bold"}
    count, reached = len(results.paths), int(results.reached.sum())
    title = f"{reached} of {count} episodes reached the goal"
    axis = page.add_maze(maze, 0.0, top, width, title, fontsize=cells.LARGE)
    for states, arrived in zip(results.paths, results.reached, strict=True):
        _draw_path(axis, states, arrived, alpha=max(0.25, 1 / count**0.5))
    for i in range(shown):
        left = (i + 1) * (width + GAP)
        axis = page.add_maze(maze, left, top, width, f"episode {i}", **style)
        plan, states = results.first_plans[i], _passed(results.paths[i])
        cells.draw_states(axis, plan, maze.is_wall(plan[:, :2]))
        _draw_path(axis, states, results.reached[i])
        cells.draw_start(axis, states[0])
        goal = results.goals[i]
        if len(goal) >= 2:
            cells.draw_goal(axis, goal)
        text = f"return {results.episodes.returns[i]:g}, {len(states)} steps"
        cells.draw_caption(axis, text, cells.FAINT, "left", 0)
    kinds = ["plan", "wall", "path", "missed", "start"]
    kinds += ["goal"] if results.goals.shape[-1] >= 2 else []
    page.add_legend(cells.legend_entries(kinds), len(kinds))
    save_figure(page.figure, path, _DPI)


def _passed(states: np.ndarray) -> np.ndarray:
    """States [T, O] until the episode's end."""
    return states[np.isfinite(states).all(axis=1)]


def _draw_path(axis, states: np.ndarray, arrived: bool, alpha: float = 1.0) -> None:
    style = cells.PATH if arrived else cells.MISSED
    axis.plot(*_passed(states)[:, :2].T, **style, alpha=alpha, zorder=3)
