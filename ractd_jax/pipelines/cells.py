"""The cells of a benchmark, tasks x training seeds: where they lie, and their table."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from absl import logging

from ractd_jax.data.sources import load_resolved
from ractd_jax.errors import ConfigError
from ractd_jax.files import check_writable, write_json, write_text
from ractd_jax.pipelines import trainings
from ractd_jax.pipelines.benchmark import (
    asked_settings,
    is_finished,
    read_cells,
    run_cell,
)
from ractd_jax.pipelines.tables import KINDS, SWEPT, TIMED
from ractd_jax.reports.aggregate_pictures import draw_values
from ractd_jax.reports.benchmark_table import Cell, format_summary, summarize_cells
from ractd_jax.reports.speed_pictures import draw_speeds
from ractd_jax.settings import Settings
from ractd_jax.settings.options import LARGEST_SEED
from ractd_jax.tasks.ant_maze import RECORDED

TASKS = tuple(
    f"{environment}-{kind}"
    for environment in ("hopper", "walker2d", "halfcheetah")
    for kind in ("medium", "medium-replay", "medium-expert")
)
# Tasks of several parts; a table has them if they are named.
LONG_TASKS = (
    *(f"kitchen-{kind}" for kind in ("complete", "partial", "mixed", "d4rl")),
    *(f"antmaze-{kind}" for kind in RECORDED),
)
_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"


def chosen(names: Sequence[str], seeds: Sequence[str]) -> list[tuple[str, int]]:
    """(task, seed) of each cell; all tasks have their first seed before a second.

    Raises:
      ConfigError: see :func:`chosen_tasks` and :func:`chosen_seeds`.
    """
    tasks = chosen_tasks(names)
    return [(task, seed) for seed in chosen_seeds(seeds) for task in tasks]


def chosen_tasks(names: Sequence[str]) -> list[str]:
    """Those of :data:`TASKS` and :data:`LONG_TASKS`, the former for no names.

    Raises:
      ConfigError: one is not there.
    """
    every = TASKS + LONG_TASKS
    for name in names:
        if name not in every:
            raise ConfigError(f"--tasks: expected some of {every}, found {name!r}")
    return list(names or TASKS)


def chosen_seeds(texts: Sequence[str]) -> list[int]:
    """Raises ConfigError for one that is no seed."""
    try:
        seeds = [int(text) for text in texts]
    except ValueError:
        seeds = []
    if not seeds or not all(0 <= seed <= LARGEST_SEED for seed in seeds):
        raise ConfigError(
            f"--seeds: expected integers with commas, found {','.join(texts)!r} "
            f"(a seed is 0 to {LARGEST_SEED})"
        )
    return seeds


def cell_folder(folder: Path, settings: Settings) -> Path:
    """Of a cell, in a folder of cells."""
    return folder / settings.task / f"seed_{settings.seed}"


def unfinished_cells(
    cells: Iterable[Settings], results: Path, table: str
) -> list[Settings]:
    """Those whose results are not there.

    Raises:
      ConfigError: a cell of another table or of other settings is there, or the table
        has other plans.
      DataError: the table could not be written.
    """
    cells, kind = list(cells), KINDS.get(table)
    for settings in cells:
        if kind and settings.plan.kind != kind:
            raise ConfigError(
                f"--table={table}: expected a --preset with config.plan.kind = "
                f"{kind!r}, found {settings.plan.kind!r} for task {settings.task!r}"
            )
    check_writable(results / "table.md", results / "table.json")
    return [
        settings
        for settings in cells
        if not is_finished(
            cell_folder(results, settings), table, asked_settings(settings)
        )
    ]


def run_here(settings: Settings, workdir: Path, results: Path, table: str) -> None:
    """One cell in this process."""
    asked = asked_settings(settings)
    settings = trainings.prepare_dataset(settings, workdir)
    folders = cell_folder(workdir, settings), cell_folder(results, settings)
    settings, dataset = load_resolved(settings)
    run_cell(settings, dataset, *folders, table, asked)


def run_apart(
    cells: Sequence[Settings],
    workdir: Path,
    jobs: int,
    command: Callable[[Settings], list[str]],
) -> list[Path]:
    """Cells in processes of one thread each, with their output in files.

    Args:
      cells: settings of each.
      workdir: of the cells.
      jobs: cells at once.
      command: settings -> what runs the cell.

    Returns:
      The output files of the cells that failed.
    """
    # Two cells of a task would record its dataset twice.
    for settings in {settings.task: settings for settings in cells}.values():
        trainings.prepare_dataset(settings, workdir)

    def run(settings: Settings) -> Path | None:
        log = cell_folder(workdir, settings) / "log.txt"
        code = _run_in_one_thread(command(settings), log)
        logging.info("%s seed %d: exit code %d", settings.task, settings.seed, code)
        return log if code else None

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return [log for log in pool.map(run, cells) if log]


def _run_in_one_thread(command: Sequence[str], log: Path) -> int:
    """The exit code."""
    log.parent.mkdir(parents=True, exist_ok=True)
    xla_flags = f"{os.environ.get('XLA_FLAGS', '')} {_ONE_THREAD}".strip()
    with log.open("a") as output:
        done = subprocess.run(
            command,
            stdout=output,
            stderr=output,
            env={**os.environ, "XLA_FLAGS": xla_flags, "OMP_NUM_THREADS": "1"},
        )
    return done.returncode


def cells_beside(folder: Path) -> list[Cell]:
    """The finished cells of another table; ConfigError where there are none."""
    if not (cells := finished_cells(folder)):
        raise ConfigError(f"--beside: expected finished cells, found none in {folder}")
    return cells


def write_table(results: Path, table: str, beside: Iterable[Cell] = ()) -> str:
    """table.md and table.json of every finished cell, table.png of a sweep, speed.png
    of samplers.

    Args:
      results: folder of the cells, and of the files.
      table: its name.
      beside: cells of another table, whose planners are shown in the same tasks and
        seeds unless the cell has its own of that name.
    """
    cells = finished_cells(results)
    if not cells:
        return "no cell is finished yet"
    keys = set(map(_key, cells))
    others = {_key(cell): cell for cell in beside if _key(cell) in keys}
    summary = summarize_cells([_joined(cell, others.get(_key(cell))) for cell in cells])
    text = format_summary(summary, _about([*cells, *others.values()]))
    write_json(results / "table.json", summary)
    write_text(results / "table.md", text)
    if table in SWEPT:
        draw_values(results / "table.png", summary["tasks"], SWEPT[table])
    if table in TIMED:
        draw_speeds(results / "speed.png", summary["tasks"])
    return text


def finished_cells(results: Path) -> list[Cell]:
    """The finished cells of a table, by task."""
    return read_cells(
        folder
        for task in TASKS + LONG_TASKS
        for folder in sorted((results / task).glob("seed_*"))
    )


def _key(cell: Cell) -> tuple[str, int]:
    return cell.task, cell.seed


def _joined(cell: Cell, other: Cell | None) -> Cell:
    """The cell with the other's planners before its own."""
    if other is None:
        return cell
    return cell._replace(planners={**other.planners, **cell.planners})


def _about(cells: Sequence[Cell]) -> str:
    """Where and with what the cells were made."""
    seeds = sorted({cell.seed for cell in cells})
    about = {
        name: ", ".join(sorted({str(cell.about[name]) for cell in cells}))
        for name in ("processor", "cores", "jax", "mujoco", "commit")
    }
    text = (
        f"{len(set(map(_key, cells)))} cells, training seeds "
        f"{', '.join(map(str, seeds))}; every "
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
        text += f" Temperature {', '.join(sorted(unnamed))} where none is named."
    return text
