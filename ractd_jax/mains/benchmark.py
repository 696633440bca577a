"""Tasks x training seeds: every planner trained anew for each, and one table.

  python -m experiments.benchmark --workdir=runs/benchmark --seeds=0,1,2,3 --jobs=2

Trains and evaluates each task and seed in WORKDIR/TASK/seed_S. A finished cell is three
small files in RESULTS/TASK/seed_S (--results; without it the workdir), and RESULTS
gets table.md and table.json of all cells that are there. Restartable: a cell that is
there is not run again, also on another machine; one that was cut off goes on from its
newest checkpoint. With --jobs=N, N cells run at once, each in a process of one thread.
experiments.aggregate reads the cells, too: --results=RESULTS/TASK/seed_0,...
--by=planner.

Other tables of the same trainings, each with a --results of its own: --table=samplers
(samplers and numbers of steps), weights (of the reward term), weight_range (half to
twice a preset's weight), temperatures, solver (steps of the teacher's), commitment
(ways to commit to one of the data's modes), rewards (reward models and critics, by
use), gradients (the reward term on one-step samples and on the DSM branch) and
baselines (agents without a planner, and the best of 16 plans). --beside=FOLDER shows
the planners of another table's cells, too.

The tasks of the kitchen (with --demonstrations=FILE) and the ant mazes have tables long
(plans of actions, and the best of several; --preset=actions for ants) and states (plans
of states; --preset=states for the kitchen), each with a workdir of its own.
"""

import sys
from pathlib import Path

from absl import flags

from ractd_jax import presets
from ractd_jax.mains import flag_kinds, launch
from ractd_jax.pipelines import cells
from ractd_jax.pipelines.tables import TABLES
from ractd_jax.settings import Settings, from_mapping

FLAGS = flags.FLAGS


def settings_of(task: str, seed: int) -> Settings:
    """Those of a cell, by the flags."""
    config = presets.of_task(task, FLAGS.preset).unlock()
    config.seed = seed
    if FLAGS.demonstrations:
        own = config.dataset.source == "d4rl"
        config.dataset["path" if own else "demonstrations"] = FLAGS.demonstrations
    if FLAGS.num_episodes:
        config.evaluation.num_episodes = FLAGS.num_episodes
    return from_mapping(config.to_dict())


def command(settings: Settings, workdir: Path, results: Path) -> list[str]:
    """What runs one cell in a process of its own."""
    values = {"tasks": settings.task, "seeds": settings.seed, "jobs": 1}
    values |= {"workdir": workdir, "results": results}
    given = ("preset", "table", "demonstrations", "num_episodes")
    values |= {name: FLAGS[name].value for name in given if FLAGS[name].value}
    arguments = [f"--{name}={value}" for name, value in values.items()]
    return [sys.executable, "-m", "ractd_jax", "benchmark", *arguments]


def main():
    workdir = Path(FLAGS.workdir).absolute()
    results = Path(FLAGS.results or workdir).absolute()
    beside = cells.cells_beside(Path(FLAGS.beside)) if FLAGS.beside else ()
    wanted = [settings_of(*cell) for cell in cells.chosen(FLAGS.tasks, FLAGS.seeds)]
    left, failed = cells.unfinished_cells(wanted, results, FLAGS.table), []
    if FLAGS.jobs > 1:
        failed = cells.run_apart(
            left, workdir, FLAGS.jobs, lambda cell: command(cell, workdir, results)
        )
    else:
        for settings in left:
            launch.use_fast_cpu_kernels(settings)
            cells.run_here(settings, workdir, results, FLAGS.table)
    print(cells.write_table(results, FLAGS.table, beside))
    if failed:
        logs = ", ".join(map(str, failed))
        sys.exit(f"error: {len(failed)} cells failed, see {logs}")


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flag_kinds.define_path("workdir", None, "Folder of the cells.", required=True)
    flag_kinds.define_path(
        "results", None, "Folder of the finished cells and the table; or the workdir."
    )
    usual, long = (", ".join(tasks) for tasks in (cells.TASKS, cells.LONG_TASKS))
    flags.DEFINE_list("tasks", [], f"Some of {usual} (all without), or of {long}.")
    flags.DEFINE_list("seeds", ["0", "1", "2", "3"], "Training seeds, with commas.")
    flags.DEFINE_enum("table", "methods", list(TABLES), "Which planners are compared.")
    flag_kinds.define_path(
        "beside",
        None,
        "Folder of another table's finished cells, whose planners the table shows for "
        "the same tasks and seeds.",
    )
    flags.DEFINE_string("preset", "cpu", "Preset of every config.")
    flag_kinds.define_path(
        "demonstrations",
        None,
        "D4RL's file of kitchen-complete, for the tasks of the kitchen.",
    )
    flags.DEFINE_integer("jobs", 1, "Cells at once.", lower_bound=1)
    flags.DEFINE_integer(
        "num_episodes", None, "Of each evaluation, if not the preset's.", lower_bound=1
    )
    launch.run(main)
