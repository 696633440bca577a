"""Pictures of what :mod:`ractd_jax.pipelines.maze` evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np

import ractd_jax
from ractd_jax.data.sources import load_dataset
from ractd_jax.errors import DataError
from ractd_jax.files import check_writable, with_ending
from ractd_jax.pipelines.maze_entries import MazeEntry, samplers
from ractd_jax.planning import Planner
from ractd_jax.planning.denoising import denoising_path
from ractd_jax.reports.maze_pictures import (
    DrawnPlan,
    data_plans,
    draw_denoising,
    draw_plans,
)
from ractd_jax.settings import Settings
from ractd_jax.tasks.maze_map import maze_map

_COLUMNS = {"DDPM": "ddpm", "EDM teacher": "teacher", "CTD": "ctd", "RACTD": "ractd"}
_SHOWN_LEVELS = 6


def draw_maze(
    workdir: Path, maze: str, output: Path, num_starts: int, seed: int
) -> list[Path]:
    """Draws plans from the same starts, and a denoising beside a single jump.

    Args:
      workdir: of this maze's pipeline.
      maze: its name.
      output: begin of the pictures' names.
      num_starts: rows of plans.
      seed: of the denoising's noise.

    Returns:
      The two files, OUTPUT_plans.png and OUTPUT_denoising.png.

    Raises:
      DataError: it has not been evaluated.
    """
    files = [with_ending(output, f"_{kind}.png") for kind in ("plans", "denoising")]
    check_writable(*files)
    student = ractd_jax.load_planner(workdir / "ractd")
    found = _load_evaluations(workdir / "evaluation", student.settings)
    steps = student.settings.diffusion.num_scales - 1
    teacher = ractd_jax.load_planner(workdir / "teacher", num_steps=steps)
    shown = _far_starts(found["RACTD"], num_starts)
    rows, radius = _rows(teacher, found, shown), teacher.settings.reward.goal_radius
    draw_plans(files[0], maze_map(maze), rows, radius)
    start, goal = (
        found["RACTD"]["paths"][shown[0], 0],
        found["RACTD"]["goals"][shown[0]],
    )
    _draw_denoising(files[1], maze, teacher, student, start, goal, seed)
    return files


def _rows(teacher: Planner, found, shown) -> dict[str, list[DrawnPlan]]:
    """Title of a column -> its plans, those of the data first."""
    arrays = found["RACTD"]
    goals, radius = arrays["goals"][shown], teacher.settings.reward.goal_radius
    episodes = load_dataset(teacher.settings).episodes
    recorded = data_plans(episodes, arrays["paths"][shown, 0], goals, radius)
    rows = {
        "data": [
            DrawnPlan(plan, None, goal, "" if plan is None else f"{len(plan)} steps")
            for plan, goal in zip(recorded, goals, strict=True)
        ]
    }
    for title in _COLUMNS:
        arrays = found[title]
        rows[title] = [
            DrawnPlan(
                arrays["first_plans"][i],
                arrays["paths"][i],
                arrays["goals"][i],
                f"return {arrays['returns'][i]:.0f}",
            )
            for i in shown
        ]
    return rows


def _draw_denoising(
    file: Path, maze: str, teacher: Planner, student: Planner, start, goal, seed: int
) -> None:
    observation = np.concatenate([start, goal]).astype(np.float32)
    key = jax.random.key(seed)
    levels, states = denoising_path(teacher, observation, key, _SHOWN_LEVELS)
    draw_denoising(
        file,
        maze_map(maze),
        states,
        levels,
        np.asarray(student.plan(observation[None], key))[0],
        goal,
        f"EDM teacher, {teacher.nfe} network evaluations",
        f"RACTD, {student.nfe} network evaluation",
        teacher.settings.diffusion.sigma_data,
    )


def _load_evaluations(
    folder: Path, settings: Settings
) -> dict[str, dict[str, np.ndarray]]:
    """Title of a column -> arrays of that planner's open-loop evaluation.

    Raises:
      DataError: it has not been evaluated.
    """
    found = {}
    for title, model in _COLUMNS.items():
        # Of the DDPM model, the first: the run of all its steps.
        entry = next(e for e in samplers(settings) if e.model == model)
        with np.load(_newest_of(folder, entry), allow_pickle=False) as stored:
            found[title] = dict(stored)
    return found


def _newest_of(folder: Path, entry: MazeEntry) -> Path:
    """The raw results of the newest evaluation of an entry."""
    rows = sorted(folder.glob("*.json"), key=lambda file: -file.stat().st_mtime)
    for file in rows:
        if json.loads(file.read_text()).get("entry") == entry.to_dict():
            return file.with_suffix(".npz")
    raise DataError(
        folder,
        expected=f"an evaluation of {entry.label!r} by experiments.maze_table",
        found="none",
    )


def _far_starts(evaluation: dict[str, np.ndarray], number: int) -> np.ndarray:
    """[number] episodes, evenly by the distance to the goal, the farthest one first.

    The last ones, next to the goal, are left out.
    """
    starts, goals = evaluation["paths"][:, 0, :2], evaluation["goals"]
    order = np.argsort(-np.linalg.norm(starts - goals, axis=-1))
    return order[np.linspace(0, 0.6 * len(order), number).astype(int)]
