"""One cell of a benchmark: everything of one task and one training seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ractd_jax.data.sources import OfflineDataset
from ractd_jax.errors import ConfigError, DataError
from ractd_jax.evaluation.fidelity import compare_planners, dataset_states
from ractd_jax.evaluation.latency import one_core, plan_latency
from ractd_jax.files import check_writable, write_json
from ractd_jax.machine import commit, machine
from ractd_jax.pipelines.entries import (
    Entry,
    evaluate_entry,
    load_entry,
    trainings_of,
)
from ractd_jax.pipelines.tables import TABLES
from ractd_jax.pipelines.trainings import train_all
from ractd_jax.planning import Planner
from ractd_jax.reports.benchmark_table import Cell
from ractd_jax.reports.results_writer import ResultsWriter, result_row
from ractd_jax.reports.statistics import normalized_score, summarize
from ractd_jax.settings import Settings, differences, to_dict

_FIDELITY_STATES = 128

_TIMED_CALLS = 100


def run_cell(
    settings: Settings,
    dataset: OfflineDataset,
    workdir: Path,
    output: Path,
    table: str,
    asked: Mapping[str, Any],
    allow_config_change: bool = False,
) -> Cell:
    """Trains and evaluates one of :data:`TABLES`, and skips what is finished.

    Writes ``results.jsonl`` and ``returns.npz`` for `experiments.aggregate`, and
    ``cell.json`` last, when everything is done.

    Args:
      settings: settings of the task, with the seed.
      dataset: the task's dataset.
      workdir: folder of this cell's trainings.
      output: folder of the three files.
      table: its name.
      asked: :func:`asked_settings`, kept with the cell.
      allow_config_change: see :func:`ractd_jax.training.loop.train`.
    """
    entries, writer = TABLES[table], ResultsWriter(output)
    check_writable(output / "cell.json", workdir / "evaluation" / "any.npz")
    names = trainings_of(entries.values(), settings)
    seconds = train_all(names, settings, dataset, workdir, allow_config_change)
    environment, rows = settings.environment, {}
    for label, entry in entries.items():
        planner = load_entry(entry, workdir)
        found = evaluate_entry(label, entry, planner, settings, workdir)
        rows[label] = summarize(found, environment) | {
            "nfe": planner.nfe,
            "temperature": planner.temperature if planner.is_random else None,
            "ms_per_plan": 1e3 * _seconds_per_plan(planner),
        }
        row = result_row(
            f"planner={label},seed={settings.seed}",
            {"planner": label},
            settings.seed,
            settings,
            planner.method.options(planner.settings).num_steps,
            True,
            found.returns,
        )
        writer.add(row, found.returns)
    scores = normalized_score(dataset.episodes.returns, environment)
    data = {
        "score_mean": float(scores.mean()),
        "score_p90": float(np.quantile(scores, 0.9)),
    }
    fidelity = {}
    if "ctd" in names:
        fidelity = measure_fidelity(settings, dataset, workdir)
    about = {**machine(), "commit": commit(), "seconds": seconds}
    about |= {"table": table, "settings": asked}
    cell = Cell(settings.task, settings.seed, data, rows, fidelity, about)
    writer.write()
    write_json(output / "cell.json", cell._asdict())
    return cell


def _seconds_per_plan(planner: Planner) -> float:
    """Median time of a plan at batch 1 on one core, from numpy to numpy."""
    with one_core():
        return plan_latency(planner, _TIMED_CALLS)["p50"]


def measure_fidelity(
    settings: Settings,
    dataset: OfflineDataset,
    workdir: Path,
    student: str = "ctd",
    teacher: str = "teacher",
) -> dict[str, float]:
    """Fidelity of a one-step student to its teacher, at temperature 1, on states."""
    entries = Entry(teacher, 1.0), Entry(student, 1.0, num_steps=1)
    planners = [load_entry(entry, workdir) for entry in entries]
    states = dataset_states(dataset.episodes, _FIDELITY_STATES)
    if settings.plan.history > 1:
        states = np.repeat(states[:, None], settings.plan.history, axis=1)
    return compare_planners(*planners, states)


def asked_settings(settings: Settings) -> dict[str, Any]:
    """The settings that a cell's scores depend on, before the dataset is read.

    In the form that JSON gives back, without the seed, logging and the data's folder;
    a file is known by the digest of its content.
    """
    found = to_dict(settings)
    del found["run"], found["seed"], found["dataset"]["root"]
    for name in ("path", "demonstrations"):
        found["dataset"][name] = _digest(found["dataset"][name])
    return json.loads(json.dumps(found))


def _digest(path: str) -> str:
    """SHA-256 of a file's content; empty where there is no file."""
    if not path or not Path(path).is_file():
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_finished(output: Path, table: str, asked: Mapping[str, Any]) -> bool:
    """Whether :func:`run_cell` has written this cell, for the same arguments.

    Raises:
      ConfigError: a cell of another table or of other settings is there.
    """
    cells = read_cells([output])
    if not cells:
        return False
    found = cells[0].about.get("table"), cells[0].about.get("settings", {})
    if found[0] != table:
        raise ConfigError(
            f"--results: expected a folder of its own for table {table!r}, found one "
            f"of {found[0]!r} in {output}"
        )
    check_same_settings(output, found[1], asked)
    return True


def check_same_settings(
    path: Path, before: Mapping[str, Any] | None, now: Mapping[str, Any]
) -> None:
    """Raises ConfigError where results were made with other settings.

    Args:
      path: of the results.
      before: :func:`asked_settings` that were kept with them; None for none.
      now: those of this command.
    """
    for name, old, new in differences(now if before is None else before, now):
        raise ConfigError(
            f"config.{name}: {path} was made with {old!r}, this command has "
            f"{new!r}: expected the same, or another --results"
        )


def read_cells(folders: Iterable[Path]) -> list[Cell]:
    """The results of :func:`run_cell` in these folders; folders without are left out.

    Raises:
      DataError: a cell.json that is not a cell.
    """
    cells = []
    for folder in folders:
        path = folder / "cell.json"
        if not path.exists():
            continue
        try:
            cells.append(Cell(**json.loads(path.read_text())))
        except (ValueError, TypeError) as error:
            raise DataError(path, expected="a cell", found=error) from None
    return cells
