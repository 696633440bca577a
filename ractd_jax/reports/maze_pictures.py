"""Pictures of plans in a maze: planners side by side, and a plan forming from noise.

They are at most 9 inches wide, which a README shows as about 900 pixels.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ractd_jax.data.episodes import Episodes
from ractd_jax.files import save_figure
from ractd_jax.reports import maze_cells as cells
from ractd_jax.reports.maze_cells import GAP, LINE
from ractd_jax.tasks.maze_map import MazeMap, crosses_wall

_WIDTH = 9.0
_LARGEST_CELL = 2.4
_LEGEND_WIDTH = 8.0  # in one line
_CHARACTER = 0.058
_DPI = 160
_CROSSES = "crosses a wall"


class DrawnPlan(NamedTuple):
    """What one cell shows: a plan, what came of it, and where it should have led.

    Attributes:
      plan: [H, 2 or more] planned states, x and y first; None draws none.
      path: [T, 2 or more] states that were passed; rows with NaN are left out, and
        None draws none.
      goal: [2 or more] x and y.
      text: a few words below, such as the return or the steps to the goal.
      waypoints: [W, 2] positions that it should pass, or None.
    """

    plan: np.ndarray | None
    path: np.ndarray | None
    goal: np.ndarray
    text: str
    waypoints: np.ndarray | None = None

    @property
    def start(self) -> np.ndarray | None:
        """Where the path began, or else the plan."""
        states = self.plan if self.path is None else self.path
        return None if states is None else states[0]


def draw_plans(
    path: str | os.PathLike,
    maze: MazeMap,
    rows: Mapping[str, Sequence[DrawnPlan]],
    goal_radius: float = 0.5,
) -> None:
    """Plans of several planners from the same starts: a column each, a row a start.

    Planned states are dots, coloured along time, on red where they lie in a wall; the
    executed path is a line. Below a plan that crosses a wall
    (:func:`ractd_jax.tasks.maze_map.crosses_wall`) stands that it does. A
    cell with neither plan nor path has the start of another one of its row.

    Args:
      path: PNG to write.
      maze: its walls.
      rows: title of a column -> its cells, from the first row down; as many for each.
      goal_radius: metres, of the circle around a goal that pays.

    Raises:
      ValueError: nothing to draw, columns of different lengths, or arrays of a wrong
        shape.
    """
    counts = {label: len(column) for label, column in rows.items()}
    if not counts or len(set(counts.values())) != 1 or 0 in counts.values():
        raise ValueError(f"rows: expected columns of one length, found {counts}")
    columns = [[_checked(cell, label) for cell in rows[label]] for label in rows]
    drawn = [cell for column in columns for cell in column]
    entries = cells.legend_entries(_kinds(maze, drawn))
    width = min(_LARGEST_CELL, (_WIDTH + GAP) / len(columns) - GAP)
    one_line = all(
        _CHARACTER * len(f"{cell.text}  {_CROSSES}") <= width for cell in drawn
    )
    pitch = width * cells.aspect(maze) + (1 if one_line else 2) * LINE + GAP
    needed = len(columns) * (width + GAP) - GAP
    legend_columns = len(entries) if needed >= _LEGEND_WIDTH else 2
    legend_lines = -(-len(entries) // legend_columns)
    total = max(needed, _LEGEND_WIDTH / 2)
    top = 1.2 * LINE
    page = cells.Page(
        total, top + counts[next(iter(rows))] * pitch + (legend_lines + 0.2) * LINE
    )
    for c, (label, column) in enumerate(zip(rows, columns, strict=True)):
        left = (total - needed) / 2 + c * (width + GAP)
        for r, cell in enumerate(column):
            style = {"fontsize": cells.LARGE, "fontweight": "bold"}
            title = label if r == 0 else ""
            axis = page.add_maze(maze, left, top + r * pitch, width, title, **style)
            start = _row_start(cell, [other[r] for other in columns])
            _draw_cell(axis, maze, cell, start, goal_radius, one_line)
    page.add_legend(entries, legend_columns)
    save_figure(page.figure, path, _DPI)


def draw_denoising(
    path: str | os.PathLike,
    maze: MazeMap,
    teacher_states: np.ndarray,
    levels: np.ndarray,
    student_plan: np.ndarray,
    goal: np.ndarray,
    text_teacher: str,
    text_student: str,
    sigma_data: float = 0.5,
) -> None:
    """A strip: the teacher's plan from noise in K pictures, the student's in two.

    States at noise level sigma are drawn times
    sigma_data / sqrt(sigma^2 + sigma_data^2), about the middle of the maze: c_in of
    EDM (Karras et al. 2022, table 1), which is what the network sees, in the size
    of the data. So x_T is a cloud of the maze's size, and at sigma_min the plan
    stands where it is. The start and the goal are drawn where they are.

    Args:
      path: PNG to write.
      maze: its walls.
      teacher_states: [K, H, 2 or more] in metres, from x_T to the plan, as
        :func:`ractd_jax.planning.denoising.denoising_path` returns them.
      levels: [K] sigma of each.
      student_plan: [H, 2 or more] what the student makes of the same x_T.
      goal: [2 or more] x and y.
      text_teacher: above the teacher's pictures.
      text_student: above the student's.
      sigma_data: of the training.

    Raises:
      ValueError: shapes that do not fit each other.
    """
    states, levels = np.asarray(teacher_states), np.asarray(levels)
    plan, goal = np.asarray(student_plan), np.asarray(goal)
    if states.ndim != 3 or levels.shape != (len(states),) or len(states) < 2:
        raise ValueError(
            "teacher_states, levels: expected [K, H, O] and [K], K at least 2, found "
            f"{list(states.shape)} and {list(levels.shape)}"
        )
    if plan.shape != states.shape[1:] or plan.shape[1] < 2 or not _is_point(goal):
        raise ValueError(
            f"student_plan, goal: expected {list(states.shape[1:])} and [2 or more], "
            f"found {list(plan.shape)} and {list(goal.shape)}"
        )
    seen = states * (sigma_data / np.hypot(levels, sigma_data))[:, None, None]
    shown = [*zip(seen, levels, strict=True), (seen[0], levels[0]), (plan, levels[-1])]
    gap, parting = 2 * GAP, 4 * GAP
    width = (_WIDTH - parting - (len(shown) - 2) * gap) / len(shown)
    width = min(_LARGEST_CELL, width)
    lefts = np.arange(len(shown)) * (width + gap)
    lefts[-2:] += parting - gap
    top, height = 2.5 * LINE, width * cells.aspect(maze)
    page = cells.Page(lefts[-1] + width, top + height)
    style = {"fontsize": cells.SMALL, "color": cells.FAINT}
    for left, (points, sigma) in zip(lefts, shown, strict=True):
        title = rf"$\sigma$ = {sigma:.2g}"
        axis = page.add_maze(maze, left, top, width, title, **style)
        cells.draw_states(axis, points, area=4.0)
        cells.draw_ends(axis, plan[0], goal)
    for text, group in ((text_teacher, lefts[:-2]), (text_student, lefts[-2:])):
        page.add_heading(text, group[0], group[-1] + width)
        for left in group[1:]:
            page.add_arrow(left - 0.95 * gap, left - 0.05 * gap, top + height / 2)
    save_figure(page.figure, path, _DPI)


def data_plans(
    episodes: Episodes,
    starts: np.ndarray,
    goals: np.ndarray,
    goal_radius: float = 0.5,
    start_radius: float = 0.2,
) -> list[np.ndarray | None]:
    """The fastest recorded paths from starts to goals, whatever their own goals were.

    A path begins within `start_radius` of a start and ends, in the same episode, within
    `goal_radius` of the goal. The one with the fewest steps is taken, and among several
    the one that begins nearest to the start.

    Args:
      episodes: observations begin with x and y.
      starts: [P, 2 or more] positions.
      goals: [P, 2 or more] positions.
      goal_radius: metres.
      start_radius: metres.

    Returns:
      P segments [T, O], from the start to the first step near the goal; None where no
      episode leads from the one to the other.

    Raises:
      ValueError: shapes that do not fit each other.
    """
    starts, goals = np.asarray(starts), np.asarray(goals)
    shapes = [list(starts.shape), list(goals.shape)]
    if any(len(s) != 2 or s[1] < 2 for s in shapes) or len(starts) != len(goals):
        raise ValueError(
            "starts, goals: expected [P, 2 or more] of one length, found "
            f"{shapes[0]} and {shapes[1]}"
        )
    positions = episodes.observations[:, :2]
    ends = np.repeat(episodes.starts[1:], episodes.lengths)
    segments = []
    for start, goal in zip(starts[:, :2], goals[:, :2], strict=True):
        near = np.linalg.norm(positions - goal, axis=1) <= goal_radius
        arrivals = np.append(np.flatnonzero(near), len(positions))
        distances = np.linalg.norm(positions - start, axis=1)
        begins = np.flatnonzero(distances <= start_radius)
        after = arrivals[np.searchsorted(arrivals, begins)]
        inside = after < ends[begins]
        begins, after = begins[inside], after[inside]
        if len(begins) == 0:
            segments.append(None)
            continue
        best = np.lexsort((distances[begins], after - begins))[0]
        segments.append(episodes.observations[begins[best] : after[best] + 1])
    return segments


def _is_point(array):
    return array.ndim == 1 and len(array) >= 2


def _checked(cell, label):
    """`cell` as arrays, the path without NaN."""
    goal = np.asarray(cell.goal)
    states = [None if s is None else np.asarray(s) for s in (cell.plan, cell.path)]
    shapes = [list(s.shape) for s in states if s is not None]
    if not _is_point(goal) or any(len(s) != 2 or s[1] < 2 or not s[0] for s in shapes):
        raise ValueError(
            f"{label}: expected plan and path [H, 2 or more] and goal [2 or more], "
            f"found {shapes} and {list(goal.shape)}"
        )
    plan, path = states
    if path is not None:
        path = path[np.isfinite(path).all(axis=1)]
        path = path if len(path) else None
    return cell._replace(plan=plan, path=path, goal=goal)


def _kinds(maze, drawn):
    """What there is to explain in a legend."""
    plans = [cell.plan for cell in drawn if cell.plan is not None]
    there = {
        "plan": bool(plans),
        "wall": any(maze.is_wall(plan[:, :2]).any() for plan in plans),
        "path": any(cell.path is not None for cell in drawn),
        "waypoint": any(cell.waypoints is not None for cell in drawn),
        "start": True,
        "goal": True,
    }
    return [kind for kind, is_there in there.items() if is_there]


def _row_start(cell, row):
    """Where a cell begins; None when nothing in its row says so."""
    starts = [other.start for other in (cell, *row)]
    return next((start for start in starts if start is not None), None)


def _draw_cell(axis, maze, cell, start, goal_radius, one_line):
    cells.draw_goal_circle(axis, cell.goal, goal_radius)
    if cell.plan is not None:
        cells.draw_states(axis, cell.plan, maze.is_wall(cell.plan[:, :2]))
    if cell.path is not None:
        axis.plot(*cell.path[:, :2].T, **cells.PATH, zorder=3)
    if cell.waypoints is not None:
        cells.draw_waypoints(axis, cell.waypoints)
    cells.draw_ends(axis, start, cell.goal)
    cells.draw_caption(axis, cell.text, cells.FAINT, "left", 0)
    if cell.plan is not None and crosses_wall(maze, cell.plan[None])[0]:
        side, line = ("right", 0) if one_line else ("left", 1)
        cells.draw_caption(axis, _CROSSES, cells.RED, side, line)
