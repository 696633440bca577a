"""Plans for combinations of known elements that training never showed.

  python -m experiments.combinations --task=maze --maze=medium --seeds=0,1,2 \
      --workdir=runs/combinations --results=docs/results/combinations
  python -m experiments.combinations --task=smax --size=3 --split=hard \
      --workdir=runs/combinations --results=docs/results/smax
  python -m experiments.combinations --task=roundabout --workdir=runs/combinations

maze: plans through three waypoints, for pairs of a start and a goal that no window
leads between, and by ways that none takes. smax: one unit of a team, in teams of kinds
that its data never combined. roundabout: a car among cars and bicycles, learned among
one kind at a time. Restartable: a finished cell (RESULTS/NAME/seed_S) is not
run again, and a training that was cut off goes on. docs/combinations.md explains the
problem and the tables.
"""

import sys
from pathlib import Path

from absl import flags

from ractd_jax.mains import flag_kinds, launch
from ractd_jax.pipelines.cells import chosen_seeds
from ractd_jax.pipelines.combinations.control import Experiment, run_control_cells
from ractd_jax.pipelines.combinations.maze import run_maze_cells, waypoint_cells
from ractd_jax.pipelines.combinations.roundabout import roundabout_experiment
from ractd_jax.pipelines.combinations.smax import SPLITS, smax_experiment
from ractd_jax.presets.combinations import MAZES
from ractd_jax.tasks.smax import SIZES

FLAGS = flags.FLAGS


def experiments() -> list[Experiment]:
    """Those of policies among kinds, by the flags."""
    if FLAGS.task == "roundabout":
        return [roundabout_experiment(FLAGS.preset)]
    size, preset = int(FLAGS.size), FLAGS.preset
    return [smax_experiment(size, split, preset) for split in FLAGS.split]


def main():
    workdir = Path(FLAGS.workdir).absolute()
    results = FLAGS.results or workdir / "results" / FLAGS.task
    folders = workdir, Path(results).absolute()
    seeds = chosen_seeds(FLAGS.seeds)
    if FLAGS.task == "maze":
        cells = waypoint_cells(FLAGS.maze, seeds, FLAGS.preset)
        launch.use_fast_cpu_kernels(cells[0])
        table = run_maze_cells(cells, *folders, FLAGS.num_queries)
    else:
        compared = experiments()
        launch.use_fast_cpu_kernels(compared[0].settings(seeds[0]))
        table = run_control_cells(compared, seeds, *folders, FLAGS.num_episodes)
    sys.stdout.write(table)


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flags.DEFINE_enum(
        "task", None, ["maze", "roundabout", "smax"], "Which one.", required=True
    )
    flag_kinds.define_path("workdir", None, "Folder of the trainings.", required=True)
    flag_kinds.define_path(
        "results",
        None,
        "Folder of the finished cells and the table, one for each task; by default "
        "WORKDIR/results/TASK.",
    )
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Training seeds, with commas.")
    flags.DEFINE_string("preset", "cpu", "cpu or smoke.")
    flags.DEFINE_list("maze", list(MAZES), "Mazes, with commas (maze).")
    flags.DEFINE_integer(
        "num_queries", 200, "Plans of each kind and seed (maze).", lower_bound=1
    )
    flags.DEFINE_enum("size", "3", list(map(str, SIZES)), "Units a side (smax).")
    flags.DEFINE_list("split", list(SPLITS), "Splits, with commas (smax).")
    flags.DEFINE_integer(
        "num_episodes",
        None,
        "Episodes in each environment; by default 550 (smax) or 100 (roundabout).",
        lower_bound=1,
    )
    for name, known in (("maze", MAZES), ("split", SPLITS)):
        flags.register_validator(
            name,
            lambda chosen, known=known: chosen and set(chosen) <= set(known),
            f"expected some of {', '.join(known)}",
        )
    launch.run(main)
