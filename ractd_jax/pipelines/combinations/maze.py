"""Plans through waypoints of a maze, to pairs and by ways that were never seen.

One cell is a maze and a training seed: a teacher without waypoints, one that reads
them beside the noise embedding, one that attends to them, and the one-step students
of the first and the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import ractd_jax
from ractd_jax.data.combinations import held_out
from ractd_jax.data.sources import OfflineDataset, load_resolved
from ractd_jax.evaluation.results import save_arrays
from ractd_jax.files import check_writable, write_json, write_text
from ractd_jax.machine import commit, machine
from ractd_jax.pipelines.benchmark import asked_settings
from ractd_jax.pipelines.combinations.cells import (
    TrainingTimes,
    is_finished_cell,
    plan_costs,
    read_cells,
)
from ractd_jax.pipelines.combinations.maze_queries import (
    KINDS,
    Queries,
    draw_queries,
    labels_of_slots,
    support,
    validity,
)
from ractd_jax.pipelines.trainings import prepare_dataset
from ractd_jax.planning import Planner
from ractd_jax.presets.combinations import MAZES, get_waypoint_maze
from ractd_jax.reports.combinations_table import maze_tables
from ractd_jax.reports.maze_pictures import DrawnPlan, draw_plans
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.tasks import get_task, task_of
from ractd_jax.tasks.maze_map import MazeMap
from ractd_jax.training.loop import train
from ractd_jax.training.stages import dimensions, make_stage, student_stage
from ractd_jax.training.stages.base import plan_sampling

# How waypoints enter a network -> what that changes in the settings.
_MODELS: dict[str, dict[str, dict[str, Any]]] = {
    "none": {"plan": {"elements": "none"}, "student": {"guidance_weight": 1.0}},
    "concat": {"network": {"elements": "concat"}},
    "attention": {},
}
_DISTILLED = ("none", "attention")
WEIGHTS = (1.0, 1.3, 2.3)
_SAMPLED_ROWS = 100_000
# Ways that take this share of a plan leave it time to arrive.
_FILLED = 0.9
_SHOWN = 3  # rows of the picture


class WaypointEntry(NamedTuple):
    """A planner of the table.

    Attributes:
      label: its row.
      model: folder of its training.
      weight: of the guidance, where its sampler has one.
    """

    label: str
    model: str
    weight: float | None = None


def entries_of(settings: Settings) -> list[WaypointEntry]:
    """The rows of the table."""
    found = []
    for name in _MODELS:
        teacher, student = f"teacher_{name}", f"student_{name}"
        label, weight = name, f", weight {settings.student.guidance_weight:g}"
        if name == "none":
            label, weight = "no waypoints", ""
            found.append(WaypointEntry(f"{label}, teacher", teacher))
        else:
            found += [
                WaypointEntry(f"{label}, teacher, weight {each:g}", teacher, each)
                for each in WEIGHTS
            ]
        if name in _DISTILLED:
            found.append(WaypointEntry(f"{label}, one step{weight}", student))
    return found


def waypoint_cells(
    mazes: Sequence[str], seeds: Sequence[int], preset: str
) -> list[Settings]:
    """The settings of all cells, a seed after the other."""
    return [
        from_mapping({**get_waypoint_maze(maze, preset).to_dict(), "seed": seed})
        for seed in seeds
        for maze in mazes
    ]


def run_maze_cells(
    cells: Sequence[Settings], workdir: Path, results: Path, num_queries: int
) -> str:
    """Cells one after the other; text of the tables.

    Args:
      cells: settings of each.
      workdir: of the trainings, ``MAZE/seed_S``.
      results: of the finished cells, likewise, and of the tables.
      num_queries: ways of each kind.

    Raises:
      ConfigError: see :func:`run_maze_cell` and :func:`write_maze_tables`.
    """
    for settings in cells:
        maze = task_of(settings.environment.id).maze(settings.environment.id)
        cell = f"{maze.name}/seed_{settings.seed}"
        run_maze_cell(settings, workdir / cell, results / cell, num_queries)
    return write_maze_tables(results)


def run_maze_cell(
    settings: Settings, workdir: Path, output: Path, num_queries: int
) -> None:
    """Trains and evaluates a cell, and skips what is finished.

    Writes ``plans.npz`` (what was asked, and the plans of every entry) into the
    workdir, and ``plans.png`` (some of them) and ``cell.json`` (shares of valid plans)
    into the output, the latter last.

    Args:
      settings: of :func:`ractd_jax.presets.combinations.get_waypoint_maze`.
      workdir: of the cell's trainings; the folder two above it has the dataset.
      output: of the results.
      num_queries: ways of each kind.

    Raises:
      ConfigError: a cell of other settings is there.
    """
    about = {"settings": asked_settings(settings), "num_queries": num_queries}
    if is_finished_cell(output / "cell.json", about):
        return
    check_writable(output / "cell.json", workdir / "plans.npz")
    settings = prepare_dataset(settings, workdir.parents[1])
    settings, dataset = load_resolved(settings)
    seconds = _train(settings, dataset, workdir)
    maze = task_of(settings.environment.id).maze(settings.environment.id)
    trained, longest = _trained_ways(settings, dataset)
    held = held_out(maze, settings.dataset.held_out_combinations)
    seed, count = settings.evaluation.seed, settings.plan.num_waypoints
    queries = {
        kind: draw_queries(maze, held, kind, num_queries, longest, count, seed)
        for kind in KINDS
    }
    rows, plans = {}, {}
    for entry in entries_of(settings):
        planner = ractd_jax.load_planner(
            workdir / entry.model, guidance_weight=entry.weight
        )
        found = {kind: _plans(planner, each, seed) for kind, each in queries.items()}
        shares = {
            kind: _shares(maze, queries[kind], each) for kind, each in found.items()
        }
        rows[entry.label] = {**plan_costs(planner), **shares}
        plans |= {f"{kind}/{entry.label}": each for kind, each in found.items()}
    asked = {
        f"{kind}/{field}": array
        for kind, each in queries.items()
        for field, array in each._asdict().items()
    }
    save_arrays(workdir / "plans.npz", {**asked, **plans})
    _draw(output / "plans.png", maze, queries, plans, settings)
    checks = {
        "slots": labels_of_slots(count),
        "held_out_pairs": int(held.pairs.sum()),
        "held_out_triples": int(held.triples.sum()),
        "longest": longest,
        **{kind: support(maze, each, trained) for kind, each in queries.items()},
    }
    cell = {"maze": maze.name, "seed": settings.seed, "queries": num_queries}
    cell |= {"rows": rows, "checks": checks, "asked": list(about)}
    cell["about"] = {**machine(), "commit": commit(), "seconds": seconds, **about}
    write_json(output / "cell.json", cell)


def settings_of_models(settings: Settings) -> dict[str, Settings]:
    """How waypoints enter -> the settings of that model's trainings."""
    return {name: from_mapping(each, settings) for name, each in _MODELS.items()}


def _train(settings: Settings, dataset: OfflineDataset, workdir: Path):
    """Trains every model, or finds it trained; seconds of each."""
    times = TrainingTimes(workdir)

    def run(stage, own: Settings, name: str) -> None:
        with times.measure(name):
            train(stage, own.run, own.seed, workdir / name)

    for name, own in settings_of_models(settings).items():
        teacher = f"teacher_{name}"
        run(make_stage("teacher", own, dataset), own, teacher)
        if name in _DISTILLED:
            stage = student_stage(own, dataset, workdir / teacher, None)
            run(stage, own, f"student_{name}")
    return times.seconds


def _trained_ways(settings: Settings, dataset: OfflineDataset) -> tuple[Queries, float]:
    """What a sample of windows is conditioned on, and metres that fit into a plan."""
    sampling, _ = plan_sampling("waypoints", settings, dataset)
    rows = np.random.default_rng(0).integers(sampling["num_rows"], size=_SAMPLED_ROWS)
    batch = sampling["gather"](sampling["data"], rows.astype(np.int32))
    normalizer = dataset.observation_normalizer
    size = dimensions(settings, dataset).observation

    def positions(normalised: np.ndarray) -> np.ndarray:
        pad = [(0, 0)] * (normalised.ndim - 1) + [(0, size - normalised.shape[-1])]
        return np.asarray(normalizer.unnormalize(np.pad(normalised, pad)))[..., :2]

    names = "start", "goal", "elements"
    ways = Queries(*(positions(np.asarray(batch.condition[name])) for name in names))
    plans = positions(np.asarray(batch.plans[:1_000]))
    steps = np.linalg.norm(np.diff(plans, axis=1), axis=-1)
    usual = float(np.median(steps[steps > 1e-3]))
    return ways, _FILLED * (settings.plan.horizon - 1) * usual


def _plans(planner: Planner, asked: Queries, seed: int) -> np.ndarray:
    """[Q, H, O], each from a standing start."""
    task = get_task(planner.dims.family)
    starts = task.goal_state(asked.starts, planner.dims.observation)
    parts = [np.asarray(starts), asked.goals]
    if planner.dims.elements:
        parts.append(asked.waypoints.reshape(len(asked.goals), -1))
    observations = np.concatenate(parts, axis=1, dtype=np.float32)
    keys = jax.random.split(jax.random.key(seed), len(observations))
    return np.asarray(planner.plan(observations, keys))


def _shares(maze: MazeMap, asked: Queries, plans: np.ndarray) -> dict[str, float]:
    """Share of the plans that are valid, and of which each part of it is true."""
    found = validity(maze, asked, plans)
    parts = {"valid": found.valid, **found._asdict()}
    return {name: float(np.mean(part)) for name, part in parts.items()}


def _draw(
    path: Path,
    maze: MazeMap,
    queries: Mapping[str, Queries],
    found: Mapping[str, np.ndarray],
    settings: Settings,
) -> None:
    """Columns of plans: without waypoints and with them, of each kind of query."""
    free = "no waypoints, teacher"
    guided = f"attention, one step, weight {settings.student.guidance_weight:g}"
    columns = {
        "seen pair": ("seen", free),
        "held-out pair": ("held_out", free),
        "detour": ("detours", free),
        "detour, teacher": ("detours", "attention, teacher, weight 1"),
        "detour, one step": ("detours", guided),
    }
    rows = {}
    for title, (kind, label) in columns.items():
        asked, plans = queries[kind], found[f"{kind}/{label}"]
        text = "no waypoints" if label == free else "waypoints"
        rows[title] = [
            DrawnPlan(plans[i], None, asked.goals[i], text, asked.waypoints[i])
            for i in range(min(_SHOWN, len(plans)))
        ]
    draw_plans(path, maze, rows)


def write_maze_tables(results: Path) -> str:
    """table.md and table.json of the finished cells of a folder; the text.

    Raises:
      ConfigError: cells that cannot be in one table, see :func:`read_cells`.
    """
    found = read_cells(results, "*/*/cell.json", "maze")
    found.sort(key=lambda cell: MAZES.index(cell["maze"]))
    write_json(results / "table.json", found)
    write_text(results / "table.md", text := maze_tables(found))
    return text
