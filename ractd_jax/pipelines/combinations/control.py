"""Policies among combinations of kinds that their data never had.

One cell is an experiment and a training seed: joint diffusion planners without the
kinds, with them beside the noise embedding and with attention to them, a one-step
student of the last, and the baselines; each acts where its data came from (ID) and
where the kinds are combined anew (OOC).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import ractd_jax
from ractd_jax.data.sources import OfflineDataset, load_resolved
from ractd_jax.evaluation.rollout import evaluate_planner
from ractd_jax.files import check_writable, write_json, write_text
from ractd_jax.machine import commit, machine
from ractd_jax.pipelines.benchmark import asked_settings
from ractd_jax.pipelines.combinations.cells import (
    TrainingTimes,
    is_finished_cell,
    kept_row,
    num_parameters,
    plan_costs,
    read_cells,
)
from ractd_jax.pipelines.trainings import prepare_dataset
from ractd_jax.planning import Planner
from ractd_jax.reports.control_table import control_tables
from ractd_jax.settings import Environment, Settings, from_mapping
from ractd_jax.tasks import task_of
from ractd_jax.training.loop import train
from ractd_jax.training.stages import make_stage, student_stage

_ONE_ACTION = {
    "kind": "actions",
    "horizon": 1,
    "conditioning": "film",
    "elements": "none",
    "executed_weight": 1.0,
}
# Folder of a training -> its stage, and what that changes in the settings.
_TRAININGS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "bc": ("discrete_bc", {"plan": _ONE_ACTION}),
    "cql": ("cql", {"plan": _ONE_ACTION}),
    "teacher_none": ("teacher", {"plan": {"elements": "none"}}),
    "teacher_concat": ("teacher", {"network": {"elements": "concat"}}),
    "teacher_attention": ("teacher", {}),
}
_STUDENT = "student_attention"
_DISTILLED = "teacher_attention"
_LARGE_BC = "large_bc"
_DDPM = "ddpm_attention"


class Row(NamedTuple):
    """A trained planner of the table.

    Attributes:
      label: its name.
      model: folder of its training.
      weight: of the guidance by kinds; None where there is none.
    """

    label: str
    model: str
    weight: float | None = None


class Outcomes(NamedTuple):
    """What E episodes gave.

    Attributes:
      happened: [E] bool, whether the experiment's event did.
      returns: [E].
    """

    happened: np.ndarray
    returns: np.ndarray


class Experiment(NamedTuple):
    """Where policies are compared, and with what.

    Attributes:
      name: of the folder of its cells.
      event: of the family, that is counted.
      settings: seed -> those of its trainings.
      environments: ``ID`` and what else episodes are played in -> Gymnasium id.
      references: label -> (environment's label, seeds) -> outcomes of policies that
        nothing is trained for.
      observed: (environment's label, seeds) -> [S, O] states of it, of the data's
        policy or one like it.
      assets: name -> digest of files of the package that outcomes depend on.
      weights: of the guidance.
      episodes: of each cell and environment.
      large_bc: whether there is a clone of the planner's size.
      ddpm: whether there is a DDPM model with attention, as in Duan (2025), which
        takes all its steps.
    """

    name: str
    event: str
    settings: Callable[[int], Settings]
    environments: Mapping[str, str]
    references: Mapping[str, Callable[[str, np.ndarray], Outcomes]]
    observed: Callable[[str, np.ndarray], np.ndarray]
    assets: Mapping[str, str] = {}
    weights: tuple[float, ...] = (1.0, 1.3)
    episodes: int = 100
    large_bc: bool = False
    ddpm: bool = False


def rows_of(experiment: Experiment, settings: Settings) -> list[Row]:
    """The trained planners of the table."""
    rows = [Row("BC", "bc"), Row("CQL", "cql")]
    if experiment.large_bc:
        rows.append(Row("BC, as large as attention", _LARGE_BC))
    rows.append(Row("diffusion, no kinds", "teacher_none"))
    for how in ("concat", "attention"):
        rows += [
            Row(f"diffusion, {how}, weight {weight:g}", f"teacher_{how}", weight)
            for weight in experiment.weights
        ]
    if experiment.ddpm:
        rows.append(Row("DDPM, attention, weight 1", _DDPM, 1.0))
    distilled = settings.student.guidance_weight
    return [*rows, Row(f"one step, attention, weight {distilled:g}", _STUDENT)]


def run_control_cell(
    experiment: Experiment, seed: int, workdir: Path, output: Path, num_episodes: int
) -> None:
    """Trains and evaluates a cell, and skips what is finished.

    Writes one file for each planner into the workdir, so that a cell that was cut off
    goes on, and ``cell.json`` into the output, last.

    Args:
      experiment: what is compared.
      seed: of the trainings; evaluations have seeds of their own, the same for all.
      workdir: of the cell's trainings; the folder two above it has the dataset.
      output: of the results.
      num_episodes: in each environment.

    Raises:
      ConfigError: a cell of other settings is there.
    """
    asked = experiment.settings(seed)
    about = {
        "settings": asked_settings(asked),
        "num_episodes": num_episodes,
        "assets": dict(experiment.assets),
    }
    if is_finished_cell(output / "cell.json", about):
        return
    check_writable(output / "cell.json", workdir / "rows" / "any")
    settings = prepare_dataset(asked, workdir.parents[1])
    settings, dataset = load_resolved(settings)
    seconds = _train(experiment, settings, dataset, workdir)
    # Paired: every planner and every training seed meets the same episodes.
    seeds = settings.evaluation.seed + np.arange(num_episodes)
    rows = {
        label: {where: _shares(play(where, seeds)) for where in experiment.environments}
        for label, play in experiment.references.items()
    }
    for row in rows_of(experiment, settings):
        planner = ractd_jax.load_planner(
            workdir / row.model, guidance_weight=row.weight
        )
        weight = "" if row.weight is None else f"_{row.weight:g}"
        rows[row.label] = kept_row(
            workdir / "rows" / f"{row.model}{weight}.json",
            {**about, "checkpoint": planner.source["checkpoint"]},
            functools.partial(_evaluate, experiment, planner, seeds),
        )
    checks = _checks(experiment, settings, dataset, seeds)
    cell = {"experiment": experiment.name, "seed": seed, "episodes": num_episodes}
    cell |= {"event": experiment.event, "rows": rows, "checks": checks}
    cell["asked"] = list(about)
    cell["about"] = {**machine(), "commit": commit(), "seconds": seconds, **about}
    write_json(output / "cell.json", cell)


def _train(experiment, settings: Settings, dataset: OfflineDataset, workdir: Path):
    """Trains every model, or finds it trained; seconds of each."""
    times = TrainingTimes(workdir)

    def run(stage, own: Settings, name: str) -> None:
        with times.measure(name):
            train(stage, own.run, own.seed, workdir / name)

    for name, (stage, changes) in _TRAININGS.items():
        own = from_mapping(changes, settings)
        run(make_stage(stage, own, dataset), own, name)
    stage = student_stage(settings, dataset, workdir / _DISTILLED, None)
    run(stage, settings, _STUDENT)
    if experiment.ddpm:
        run(make_stage("ddpm", settings, dataset), settings, _DDPM)
    if experiment.large_bc:
        own = from_mapping({"plan": _ONE_ACTION}, settings)
        planner = ractd_jax.load_planner(workdir / _DISTILLED)
        width = _width_of_size(num_parameters(planner), dataset)
        own = from_mapping({"discrete_bc": {"widths": (width, width)}}, own)
        run(make_stage("discrete_bc", own, dataset), own, _LARGE_BC)
    return times.seconds


def _width_of_size(size: int, dataset: OfflineDataset) -> int:
    """Of two layers with as many parameters together with input and head."""
    ends = dataset.episodes.observations.shape[1] + dataset.episodes.actions.shape[1]
    linear = ends + 2
    return round((-linear + (linear**2 + 4 * size) ** 0.5) / 2)


def _evaluate(
    experiment: Experiment, planner: Planner, seeds: np.ndarray
) -> dict[str, Any]:
    """Costs, and what happened in each environment."""
    found: dict[str, Any] = dict(plan_costs(planner))
    for where, environment_id in experiment.environments.items():
        outcomes = _play(experiment, planner, environment_id, seeds)
        found[where] = _shares(outcomes)
    return found


def _play(
    experiment: Experiment, planner: Planner, environment_id: str, seeds: np.ndarray
) -> Outcomes:
    """Episodes of consecutive `seeds`."""
    environment = Environment(id=environment_id)
    found = evaluate_planner(planner, environment, len(seeds), int(seeds[0]))
    if found.num_failed:
        raise RuntimeError(f"{environment_id}: {found.failures[found.failures != '']}")
    column = found.event_names.tolist().index(experiment.event)
    return Outcomes(found.events[:, column] >= 0, found.returns)


def _shares(found: Outcomes) -> dict[str, float]:
    return {
        "share": float(found.happened.mean()),
        "return": float(found.returns.mean()),
    }


def _checks(experiment, settings: Settings, dataset: OfflineDataset, seeds):
    """How often each kind stands in each slot, and what of it training had seen."""
    task = task_of(settings.environment.id)
    trained = np.asarray(task.elements(dataset.episodes.observations), int)
    support = np.unique(trained, axis=0)
    checks = {"data": _marginals(trained, task.num_kinds)}
    for where in experiment.environments:
        found = np.asarray(task.elements(experiment.observed(where, seeds)), int)
        shown, counts = np.unique(found, axis=0, return_counts=True)
        seen = (shown[:, None] == support[None]).all(axis=-1).any(axis=1)
        checks[where] = {
            **_marginals(found, task.num_kinds),
            "combinations_seen": float(counts[seen].sum() / counts.sum()),
        }
    return checks


def _marginals(kinds: np.ndarray, number: int) -> dict[str, Any]:
    """[slots][kinds] shares of states."""
    shares = [
        (np.bincount(slot, minlength=number) / len(slot)).tolist() for slot in kinds.T
    ]
    return {"marginals": shares}


def run_control_cells(
    experiments: Sequence[Experiment],
    seeds: Sequence[int],
    workdir: Path,
    results: Path,
    num_episodes: int | None = None,
) -> str:
    """The cells of all experiments, a seed after the other; text of the tables.

    Args:
      experiments: what is compared.
      seeds: of the trainings.
      workdir: of the trainings, ``NAME/seed_S``.
      results: of the finished cells, likewise, and of the tables.
      num_episodes: in each environment; None for each experiment's own.

    Raises:
      ConfigError: see :func:`run_control_cell` and :func:`write_control_tables`.
    """
    for seed in seeds:
        for experiment in experiments:
            cell = f"{experiment.name}/seed_{seed}"
            count = num_episodes or experiment.episodes
            run_control_cell(experiment, seed, workdir / cell, results / cell, count)
    return write_control_tables(results)


def write_control_tables(results: Path) -> str:
    """table.md and table.json of the finished cells of a folder; the text.

    Raises:
      ConfigError: cells that cannot be in one table, see :func:`read_cells`.
    """
    found = read_cells(results, "*/*/cell.json", "experiment")
    if not found:
        return "no cell is finished yet\n"
    write_json(results / "table.json", found)
    write_text(results / "table.md", text := control_tables(found))
    return text
