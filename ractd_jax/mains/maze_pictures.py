"""Draws what `experiments.maze_table` evaluated: plans, paths and a denoising.

  python -m experiments.maze_pictures --workdir=runs/maze --maze=medium \
      --output=docs/maze

Writes OUTPUT_plans.png (data, DDPM, EDM teacher, CTD and RACTD from the same starts)
and OUTPUT_denoising.png (the teacher's way from noise beside the student's one jump).
"""

from pathlib import Path

from absl import flags

from ractd_jax.mains import flag_kinds, launch
from ractd_jax.pipelines.maze_pictures import draw_maze
from ractd_jax.tasks.point_maze import MAZES

FLAGS = flags.FLAGS


def main():
    folder = Path(FLAGS.workdir) / FLAGS.maze
    files = draw_maze(folder, FLAGS.maze, Path(FLAGS.output), FLAGS.starts, FLAGS.seed)
    print(f"Written: {', '.join(map(str, files))}")


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flag_kinds.define_path("workdir", None, "Of experiments.maze_table.", required=True)
    flags.DEFINE_enum("maze", "medium", list(MAZES), "Which maze.")
    flag_kinds.define_path(
        "output", None, "Begin of the pictures' names.", required=True
    )
    flags.DEFINE_integer("starts", 3, "Rows of plans.", lower_bound=1)
    flag_kinds.define_seed("seed", 0, "Seed of the denoising's noise.")
    launch.run(main)
