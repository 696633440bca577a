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
(samplers and numbers of steps), weights (of the reward term), temperatures, solver
(steps of the teacher's), and commitment (ways to commit to one of the data's modes).
"""

import concurrent.futures
import importlib
import os
import subprocess
import sys
from pathlib import Path

from absl import flags, logging

from experiments import launch
from experiments.evaluate import evaluate_with_progress
from ractd_jax.data.sources import load_resolved
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.aggregate_pictures import draw_values
from ractd_jax.evaluation.benchmark_table import format_summary, summarize_cells
from ractd_jax.files import write_json, write_text
from ractd_jax.pipelines import trainings
from ractd_jax.pipelines.benchmark import (
    SWEPT,
    TABLES,
    asked_settings,
    is_finished,
    read_cells,
    run_cell,
)
from ractd_jax.settings import Settings, from_mapping

FLAGS = flags.FLAGS

TASKS = tuple(
    f"{environment}-{kind}"
    for environment in ("hopper", "walker2d", "halfcheetah")
    for kind in ("medium", "medium-replay", "medium-expert")
)
_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"


def chosen_tasks() -> list[str]:
    """Those of --tasks; raises ConfigError for one that is not there."""
    tasks = FLAGS.tasks or list(TASKS)
    for task in tasks:
        if task not in TASKS:
            raise ConfigError(f"--tasks: expected some of {TASKS}, found {task!r}")
    return tasks


def chosen_seeds() -> list[int]:
    try:
        return [int(seed) for seed in FLAGS.seeds]
    except ValueError:
        raise ConfigError(
            f"--seeds: expected integers with commas, found {','.join(FLAGS.seeds)!r}"
        ) from None


def cell_folder(workdir: Path, task: str, seed: int) -> Path:
    return workdir / task / f"seed_{seed}"


def settings_of(task: str, seed: int) -> Settings:
    """Those of a cell, by the flags."""
    module = importlib.import_module(f"configs.{task.replace('-', '_')}")
    config = module.get_config(FLAGS.preset).unlock()
    config.seed = seed
    if FLAGS.num_episodes:
        config.evaluation.num_episodes = FLAGS.num_episodes
    return from_mapping(config.to_dict())


def run_here(task: str, seed: int, workdir: Path, results: Path) -> None:
    """One cell in this process."""
    settings = settings_of(task, seed)
    launch.use_fast_cpu_kernels(settings)
    asked = asked_settings(settings)
    settings = trainings.prepare_dataset(settings, workdir)
    settings, dataset = load_resolved(settings)
    folders = cell_folder(workdir, task, seed), cell_folder(results, task, seed)
    run_cell(settings, dataset, *folders, FLAGS.table, asked, evaluate_with_progress)


def run_apart(task: str, seed: int, workdir: Path, results: Path) -> int:
    """One cell in a process of its own, with its output in a file."""
    folder = cell_folder(workdir, task, seed)
    folder.mkdir(parents=True, exist_ok=True)
    flag_values = [
        f"--tasks={task}",
        f"--seeds={seed}",
        f"--workdir={workdir}",
        f"--results={results}",
        f"--preset={FLAGS.preset}",
        f"--table={FLAGS.table}",
        "--jobs=1",
    ]
    if FLAGS.num_episodes:
        flag_values.append(f"--num_episodes={FLAGS.num_episodes}")
    command = [sys.executable, "-m", "experiments.benchmark", *flag_values]
    xla_flags = f"{os.environ.get('XLA_FLAGS', '')} {_ONE_THREAD}".strip()
    with (folder / "log.txt").open("a") as log:
        done = subprocess.run(
            command,
            stdout=log,
            stderr=log,
            env={**os.environ, "XLA_FLAGS": xla_flags, "OMP_NUM_THREADS": "1"},
        )
    logging.info("%s seed %d: exit code %d", task, seed, done.returncode)
    return done.returncode


def write_table(results: Path) -> str:
    """table.md and table.json of every finished cell, table.png of a sweep."""
    folders = sorted(
        (folder for task in TASKS for folder in (results / task).glob("seed_*")),
        key=lambda folder: TASKS.index(folder.parent.name),
    )
    cells = read_cells(folders)
    if not cells:
        return "no cell is finished yet"
    summary = summarize_cells(cells)
    seeds = sorted({cell.seed for cell in cells})
    about = {
        name: ", ".join(sorted({str(cell.about[name]) for cell in cells}))
        for name in ("processor", "cores", "jax", "mujoco", "commit")
    }
    about = (
        f"{len(cells)} cells, training seeds {', '.join(map(str, seeds))}; every "
        "network of a cell is trained with its seed. "
        f"{about['processor']}, {about['cores']} cores; JAX {about['jax']}, MuJoCo "
        f"{about['mujoco']}; commit {about['commit']}."
    )
    unnamed = {
        f"{row['temperature']:g}"
        for cell in cells
        for label, row in cell.planners.items()
        if ", temperature" not in label and row.get("temperature") is not None
    }
    if unnamed:
        about += f" Temperature {', '.join(sorted(unnamed))} where none is named."
    text = format_summary(summary, about)
    write_json(results / "table.json", summary)
    write_text(results / "table.md", text)
    if FLAGS.table in SWEPT:
        draw_values(results / "table.png", summary["tasks"], SWEPT[FLAGS.table])
    return text


def main():
    workdir = Path(FLAGS.workdir).absolute()
    results = Path(FLAGS.results or workdir).absolute()
    # Seeds outside: all tasks have their first seed before any has its second.
    cells = [(task, seed) for seed in chosen_seeds() for task in chosen_tasks()]
    cells = [
        cell
        for cell in cells
        if not is_finished(
            cell_folder(results, *cell),
            FLAGS.table,
            asked_settings(settings_of(*cell)),
        )
    ]
    if FLAGS.jobs == 1:
        for task, seed in cells:
            run_here(task, seed, workdir, results)
        failed = []
    else:
        # Two cells of a task would record its dataset twice.
        for task in dict.fromkeys(task for task, _ in cells):
            trainings.prepare_dataset(settings_of(task, 0), workdir)
        with concurrent.futures.ThreadPoolExecutor(FLAGS.jobs) as pool:
            codes = list(
                pool.map(lambda cell: run_apart(*cell, workdir, results), cells)
            )
        failed = [cell for cell, code in zip(cells, codes, strict=True) if code]
    print(write_table(results))
    if failed:
        logs = [str(cell_folder(workdir, *cell) / "log.txt") for cell in failed]
        sys.exit(f"error: {len(failed)} cells failed, see {', '.join(logs)}")


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the cells.", required=True)
    flags.DEFINE_string(
        "results", None, "Folder of the finished cells and the table; or the workdir."
    )
    flags.DEFINE_list("tasks", [], f"Some of {', '.join(TASKS)}; all without.")
    flags.DEFINE_list("seeds", ["0", "1", "2", "3"], "Training seeds, with commas.")
    flags.DEFINE_enum("table", "methods", list(TABLES), "Which planners are compared.")
    flags.DEFINE_string("preset", "cpu", "Preset of every config.")
    flags.DEFINE_integer("jobs", 1, "Cells at once.", lower_bound=1)
    flags.DEFINE_integer(
        "num_episodes", None, "Of each evaluation, if not the preset's.", lower_bound=1
    )
    launch.run(main)
