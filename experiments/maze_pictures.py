"""Draws what `experiments.maze_table` evaluated: plans, paths and a denoising.

  python -m experiments.maze_pictures --workdir=runs/maze --maze=medium \
      --output=docs/maze

Writes OUTPUT_plans.png (data, DDPM, EDM teacher, CTD and RACTD from the same starts)
and OUTPUT_denoising.png (the teacher's way from noise beside the student's one jump).
"""

from pathlib import Path

import jax
import numpy as np
from absl import flags

import ractd_jax
from experiments import launch
from experiments.maze_table import samplers
from ractd_jax.data.sources import load_dataset
from ractd_jax.errors import DataError
from ractd_jax.evaluation.maze_pictures import (
    DrawnPlan,
    data_plans,
    draw_denoising,
    draw_plans,
)
from ractd_jax.planning.denoising import denoising_path
from ractd_jax.settings import Settings
from ractd_jax.tasks.maze_map import maze_map
from ractd_jax.tasks.point_maze import MAZES

FLAGS = flags.FLAGS
_COLUMNS = {"DDPM": "ddpm", "EDM teacher": "teacher", "CTD": "ctd", "RACTD": "ractd"}
_SHOWN = 6


def load_evaluations(
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
        file = folder / f"{entry.file}.npz"
        if not file.exists():
            raise DataError(
                file,
                expected="an evaluation by experiments.maze_table",
                found="no file",
            )
        with np.load(file, allow_pickle=False) as stored:
            found[title] = dict(stored)
    return found


def far_starts(evaluation: dict[str, np.ndarray], number: int) -> np.ndarray:
    """[number] episodes, evenly by the distance to the goal, the farthest one first.

    The last ones, next to the goal, are left out.
    """
    starts, goals = evaluation["paths"][:, 0, :2], evaluation["goals"]
    order = np.argsort(-np.linalg.norm(starts - goals, axis=-1))
    return order[np.linspace(0, 0.6 * len(order), number).astype(int)]


def main():
    workdir = Path(FLAGS.workdir) / FLAGS.maze
    maze = maze_map(FLAGS.maze)
    student = ractd_jax.load_planner(workdir / "ractd")
    found = load_evaluations(workdir / "evaluation", student.settings)
    steps = student.settings.diffusion.num_scales - 1
    teacher = ractd_jax.load_planner(workdir / "teacher", num_steps=steps)
    radius = teacher.settings.reward.goal_radius
    shown = far_starts(found["RACTD"], FLAGS.starts)
    goals = found["RACTD"]["goals"][shown]
    dataset = load_dataset(teacher.settings)
    recorded = data_plans(
        dataset.episodes, found["RACTD"]["paths"][shown, 0], goals, radius
    )
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
    output = Path(FLAGS.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    draw_plans(output.with_name(f"{output.name}_plans.png"), maze, rows, radius)

    observation = np.concatenate(
        [found["RACTD"]["paths"][shown[0], 0], goals[0]]
    ).astype(np.float32)
    key = jax.random.key(FLAGS.seed)
    levels, states = denoising_path(teacher, observation, key, _SHOWN)
    draw_denoising(
        output.with_name(f"{output.name}_denoising.png"),
        maze,
        states,
        levels,
        np.asarray(student.plan(observation[None], key))[0],
        goals[0],
        f"EDM teacher, {teacher.nfe} network evaluations",
        f"RACTD, {student.nfe} network evaluation",
        teacher.settings.diffusion.sigma_data,
    )
    print(f"Written: {output}_plans.png, {output}_denoising.png")


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Of experiments.maze_table.", required=True)
    flags.DEFINE_enum("maze", "medium", list(MAZES), "Which maze.")
    flags.DEFINE_string("output", None, "Begin of the pictures' names.", required=True)
    flags.DEFINE_integer("starts", 3, "Rows of plans.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the denoising's noise.")
    launch.run(main)
