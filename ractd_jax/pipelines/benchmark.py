"""One cell of a benchmark: everything of one task and one training seed."""

from __future__ import annotations

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
from ractd_jax.pipelines import trainings
from ractd_jax.pipelines.trainings import REWARD_WEIGHTS, Entry
from ractd_jax.planning import Planner
from ractd_jax.reports.benchmark_table import Cell
from ractd_jax.reports.results_writer import ResultsWriter, result_row
from ractd_jax.reports.statistics import normalized_score, summarize
from ractd_jax.settings import Settings, differences, to_dict

_FIDELITY_STATES = 128

# Every trained planner at the config's temperature, and as it was learned.
_METHODS: Mapping[str, Entry] = {
    "BC": Entry("bc"),
    "top-30% BC": Entry("bc_top"),
    "teacher": Entry("teacher"),
    "teacher, temperature 1": Entry("teacher", 1.0),
    "CTD": Entry("ctd"),
    "CTD, temperature 1": Entry("ctd", 1.0),
    "RACTD": Entry("ractd"),
    "RACTD, temperature 1": Entry("ractd", 1.0),
}
# Samplers of the same data, as in Duan (2025), tables 3.3 and 3.5 (students of 1 to 4
# steps).
_SAMPLERS: Mapping[str, Entry] = {
    "DDPM": Entry("ddpm"),
    "DDIM, 10 steps": Entry("ddpm", num_steps=10),
    "EDM, 79 steps": Entry("teacher", num_steps=79),
    "EDM, 10 steps": Entry("teacher", num_steps=10),
    **{
        f"{label}, {steps} step{'s' * (steps > 1)}": Entry(name, num_steps=steps)
        for label, name in (("CTD", "ctd"), ("RACTD", "ractd"))
        for steps in (1, 2, 3, 4)
    },
}
# What the reward term's weight does, as in Duan (2025), figure 3.4.
_WEIGHTS: Mapping[str, Entry] = {
    "RACTD, weight 0": Entry("ctd"),
    **{f"RACTD, weight {w:g}": Entry(f"ractd_weight_{w:g}") for w in REWARD_WEIGHTS},
}
# How far the reward term's weight may be off: as the presets use it, over a range of
# four.
_WEIGHT_RANGE: Mapping[str, Entry] = {
    "RACTD, weight times 0": Entry("ctd"),
    "RACTD, weight times 0.5": Entry("ractd_times_0.5"),
    "RACTD, weight times 1": Entry("ractd"),
    "RACTD, weight times 2": Entry("ractd_times_2"),
}
_TEMPERATURES: Mapping[str, Entry] = {
    f"{label}, temperature {temperature:g}": Entry(name, temperature)
    for label, name in (("teacher", "teacher"), ("CTD", "ctd"), ("RACTD", "ractd"))
    for temperature in (0.0, 0.1, 0.3, 0.6, 1.0)
}
# How fine the teacher's solver has to be before it samples what the teacher learned.
_SOLVER: Mapping[str, Entry] = {
    f"teacher, temperature 1, steps {steps}": Entry("teacher", 1.0, steps)
    for steps in (10, 20, 40)
}
# All windows, and what makes a planner keep to one of their modes.
_COMMITMENT: Mapping[str, Entry] = {
    "CTD, all windows": Entry("ctd_uniform"),
    "one noise an episode": Entry("ctd_uniform", noise="each_episode"),
    "history of 4": Entry("ctd_history"),
    "condition on the return": Entry("ctd_rank"),
    "chosen windows": Entry("ctd"),
}
_REWARD_LABELS = {"rtg": "return-to-go", "sarsa": "SARSA", "iql": "IQL"}
_BEST_OF = 16
# Less noise would leave nothing to choose from, more leads away from the mode.
_CHOICE = 0.3


def _best_of(training: str, reward: str) -> Entry:
    """The best of a planner's candidates by a reward of ``trainings.REWARDS``."""
    model = trainings.REWARDS[reward]
    return Entry(training, _CHOICE, num_candidates=_BEST_OF, reward=model)


# Rewards by what they are used for. Windows weighted by the return-to-go are the
# default, which the other uses start from.
_REWARDS: Mapping[str, Entry] = {
    "no reward": Entry("ctd_uniform"),
    "weights, return-to-go": Entry("ctd"),
    "weights, SARSA": Entry("ctd_sarsa"),
    "weights, IQL": Entry("ctd_iql"),
    **{
        f"{use}, {label}": Entry(f"{use}_{name}")
        for use in ("gradient", "steering", "distilled")
        for name, label in _REWARD_LABELS.items()
    },
    **{
        f"best of {_BEST_OF}, {label}": _best_of("ctd", name)
        for name, label in _REWARD_LABELS.items()
    },
}
# The reward term on one-step samples and on the DSM branch.
_GRADIENTS: Mapping[str, Entry] = {
    "CTD": Entry("ctd"),
    **{
        f"{where}, {label}": Entry(f"{use}_{name}")
        for use, where in (("gradient", "one step"), ("gradient_dsm", "DSM branch"))
        for name, label in _REWARD_LABELS.items()
    },
}
# What needs no planner, beside the planners.
_BASELINES: Mapping[str, Entry] = {
    "IQL": Entry("iql"),
    "TD3+BC": Entry("td3_bc"),
    "CTD": Entry("ctd"),
    "RACTD": Entry("ractd"),
    **{
        f"{planner}, best of {_BEST_OF}, {_REWARD_LABELS[name]}": _best_of(
            planner.lower(), name
        )
        for planner in ("CTD", "RACTD")
        for name in ("rtg", "iql")
    },
}
TABLES = {
    "methods": _METHODS,
    "samplers": _SAMPLERS,
    "weights": _WEIGHTS,
    "weight_range": _WEIGHT_RANGE,
    "temperatures": _TEMPERATURES,
    "solver": _SOLVER,
    "commitment": _COMMITMENT,
    "rewards": _REWARDS,
    "gradients": _GRADIENTS,
    "baselines": _BASELINES,
}
# table: the value that its labels end in, which is drawn.
SWEPT = {
    "weights": "weight",
    "weight_range": "weight times",
    "temperatures": "temperature",
    "solver": "steps",
}
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
    names = [entry.training for entry in entries.values()]
    names += [entry.reward for entry in entries.values() if entry.reward]
    seconds = trainings.train_all(
        names, settings, dataset, workdir, allow_config_change
    )
    environment, rows = settings.environment, {}
    for label, entry in entries.items():
        planner = trainings.load_entry(entry, workdir)
        found = trainings.evaluate_entry(label, entry, planner, settings, workdir)
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
    planners = [trainings.load_entry(entry, workdir) for entry in entries]
    states = dataset_states(dataset.episodes, _FIDELITY_STATES)
    if settings.plan.history > 1:
        states = np.repeat(states[:, None], settings.plan.history, axis=1)
    return compare_planners(*planners, states)


def asked_settings(settings: Settings) -> dict[str, Any]:
    """The settings that a cell's scores depend on, before the dataset is read.

    In the form that JSON gives back, without the seed, the data's folder and logging.
    """
    found = to_dict(settings)
    del found["run"], found["seed"], found["dataset"]["root"]
    return json.loads(json.dumps(found))


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
