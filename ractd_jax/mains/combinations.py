"""Plans for combinations of known elements that training never showed.

  python -m experiments.combinations --task=maze --maze=medium --seeds=0,1,2 \
      --workdir=runs/combinations --results=docs/results/combinations

maze: plans through three waypoints, for pairs of a start and a goal that no window
leads between, and by ways that none takes. Restartable: a finished cell
(RESULTS/MAZE/seed_S) is not run again, and a training that was cut off goes on.
docs/combinations.md explains the problem and the table.
"""

import sys
from pathlib import Path

from absl import flags

from ractd_jax.mains import flag_kinds, launch
from ractd_jax.pipelines.cells import chosen_seeds
from ractd_jax.pipelines.combinations.maze import run_maze_cell, write_maze_tables
from ractd_jax.presets.combinations import MAZES, get_waypoint_maze
from ractd_jax.settings import Settings, from_mapping

FLAGS = flags.FLAGS


def settings_of(maze: str, seed: int) -> Settings:
    """Those of a cell, by the flags."""
    config = get_waypoint_maze(maze, FLAGS.preset).unlock()
    config.seed = seed
    return from_mapping(config.to_dict())


def main():
    workdir = Path(FLAGS.workdir).absolute()
    results = Path(FLAGS.results or workdir / "results").absolute()
    for seed in chosen_seeds(FLAGS.seeds):
        for maze in FLAGS.maze:
            settings, cell = settings_of(maze, seed), f"{maze}/seed_{seed}"
            launch.use_fast_cpu_kernels(settings)
            folders = workdir / cell, results / cell
            run_maze_cell(settings, *folders, FLAGS.num_queries)
    sys.stdout.write(write_maze_tables(results))


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flags.DEFINE_enum("task", None, ["maze"], "Which experiment.", required=True)
    flag_kinds.define_path("workdir", None, "Folder of the trainings.", required=True)
    flag_kinds.define_path(
        "results", None, "Folder of the finished cells and the table."
    )
    flags.DEFINE_list("maze", list(MAZES), "Mazes, with commas.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Training seeds, with commas.")
    flags.DEFINE_integer(
        "num_queries", 200, "Plans of each kind and seed.", lower_bound=1
    )
    flags.DEFINE_string("preset", "cpu", "cpu or smoke.")
    flags.register_validator(
        "maze",
        lambda mazes: mazes and set(mazes) <= set(MAZES),
        f"expected some of {', '.join(MAZES)}",
    )
    launch.run(main)
