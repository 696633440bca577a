"""The table of a benchmark: planners by tasks, over training seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ractd_jax.reports.statistics import seed_interval
from ractd_jax.tables import markdown_table

# task -> planner -> a score for each training seed
Scores = Mapping[str, Mapping[str, Sequence[float]]]


class Cell(NamedTuple):
    """Results of one task and seed; JSON-able.

    Attributes:
      task: name of the task.
      seed: seed of every training.
      data: ``score_mean`` and ``score_p90`` over the data's episodes.
      planners: label -> summary of :func:`ractd_jax.reports.statistics.summarize`.
      fidelity: of CTD, see :func:`ractd_jax.student.fidelity`.
      about: hardware, versions, ``commit`` and ``seconds`` of each training.
    """

    task: str
    seed: int
    data: dict[str, float]
    planners: dict[str, dict[str, Any]]
    fidelity: dict[str, float]
    about: dict[str, Any]


def summarize_cells(cells: Sequence[Cell]) -> dict[str, Any]:
    """Means and intervals over seeds, by task and planner.

    Returns:
      ``tasks``: task -> ``data`` and ``planners``, label -> ``scores`` (by seed),
      ``seeds``, ``mean``, ``interval_95`` (of Student's t over seeds) and ``worst``
      (the lowest seed over the mean); ``average``: label -> the same of the means over
      the tasks, seed by seed, of planners that every task has; ``fidelity``: task ->
      name -> ``mean``, ``lowest`` and ``highest`` over seeds.
    """
    tasks: dict[str, Any] = {}
    for cell in sorted(cells, key=lambda cell: cell.seed):
        entry = tasks.setdefault(cell.task, {"data": cell.data, "planners": {}})
        for label, row in cell.planners.items():
            group = entry["planners"].setdefault(label, {"seeds": [], "scores": []})
            group["seeds"].append(cell.seed)
            group["scores"].append(row["score_mean"])
            group.setdefault("nfe", row.get("nfe"))
            group.setdefault("ms_per_plan", []).append(row.get("ms_per_plan"))
    for entry in tasks.values():
        for group in entry["planners"].values():
            group.update(_statistics(group["scores"]))
    return {
        "tasks": tasks,
        "average": _averages(tasks),
        "fidelity": _fidelity(cells),
    }


def _statistics(scores: Sequence[float]) -> dict[str, Any]:
    mean = float(np.mean(scores))
    return {
        "mean": mean,
        "interval_95": seed_interval(scores),
        "worst": min(scores) / mean if mean > 0.0 else None,
    }


def _averages(tasks: Mapping[str, Any]) -> dict[str, Any]:
    """By planner, the mean over tasks for each seed that all tasks have."""
    groups = [entry["planners"] for entry in tasks.values()]
    labels = [label for label in groups[0] if all(label in each for each in groups)]
    averages = {}
    for label in labels:
        every = [each[label] for each in groups]
        seeds = sorted(set.intersection(*(set(each["seeds"]) for each in every)))
        if seeds:
            scores = [
                float(np.mean([e["scores"][e["seeds"].index(seed)] for e in every]))
                for seed in seeds
            ]
            averages[label] = {"seeds": seeds, "scores": scores, **_statistics(scores)}
    return averages


def _fidelity(cells: Sequence[Cell]) -> dict[str, Any]:
    found: dict[str, dict[str, list[float]]] = {}
    for cell in cells:
        for name, value in cell.fidelity.items():
            found.setdefault(cell.task, {}).setdefault(name, []).append(value)
    return {
        task: {
            name: {
                "mean": float(np.mean(values)),
                "lowest": min(values),
                "highest": max(values),
            }
            for name, values in names.items()
        }
        for task, names in found.items()
    }


def format_summary(summary: Mapping[str, Any], about: str) -> str:
    """Scores and fidelity as Markdown."""
    tasks = summary["tasks"]
    labels = list(dict.fromkeys(n for e in tasks.values() for n in e["planners"]))
    header = ["task", "seeds", "data", "data, 90th percentile", *labels]
    rows = []
    for task, entry in tasks.items():
        data = entry["data"]
        cells = [_score(entry["planners"].get(label)) for label in labels]
        groups = entry["planners"].values()
        seeds = {seed for group in groups for seed in group["seeds"]}
        first = [task, str(len(seeds))]
        first += [f"{data[name]:.1f}" for name in ("score_mean", "score_p90")]
        rows.append(first + cells)
    if len(tasks) > 1:
        data = [entry["data"] for entry in tasks.values()]
        means = [
            f"{np.mean([row[name] for row in data]):.1f}"
            for name in ("score_mean", "score_p90")
        ]
        cells = [_score(summary["average"].get(label)) for label in labels]
        common = {len(group["seeds"]) for group in summary["average"].values()}
        count = str(max(common)) if common else "-"
        rows.append(["**average**", count, *means, *cells])
    table = markdown_table(header, rows + _cost_rows(tasks, labels))
    text = [about, "", table, "", _SCORES_NOTE]
    if summary["fidelity"]:
        text += ["", "## Fidelity of CTD", "", _fidelity_text(summary["fidelity"])]
    return "\n".join(text) + "\n"


def _cost_rows(tasks: Mapping[str, Any], labels: Sequence[str]) -> list[list[str]]:
    """NFE and, where it was measured, the median milliseconds of a plan."""
    groups = {
        label: [e["planners"][label] for e in tasks.values() if label in e["planners"]]
        for label in labels
    }
    nfe = [str(groups[label][0]["nfe"] or "-") for label in labels]
    times = {
        label: [ms for group in groups[label] for ms in group["ms_per_plan"] if ms]
        for label in labels
    }
    milliseconds = [
        f"{np.median(times[label]):.2f}" if times[label] else "-" for label in labels
    ]
    return [
        ["NFE", "-", "-", "-", *nfe],
        ["ms per plan, batch 1, one core", "-", "-", "-", *milliseconds],
    ]


_SCORES_NOTE = (
    "Scores of true returns: mean over training seeds and half the width of its 95% "
    "interval (Student's t over seeds); in brackets the lowest seed. The average is of "
    "the seeds that every task has."
)
_FIDELITY = {
    "spread": "spread",
    "plan_spread": "spread of plans",
    "error": "error",
    "plan_error": "error of plans",
    "sliced_wasserstein": "sliced Wasserstein",
    "mode_gap": "mode gap",
}
_FIDELITY_NOTE = (
    "One step against the teacher's Heun solution from the same noise: standard "
    "deviation of the executed action (of whole plans) over the noise, root mean "
    "square error and sliced Wasserstein distance, each over the teacher's standard "
    "deviation; mean difference of a state's mode shares. Means over seeds, worst seed "
    "in brackets."
)


def _fidelity_text(fidelity: Mapping[str, Any]) -> str:
    rows = []
    for task, names in fidelity.items():
        cells = []
        for name in _FIDELITY:
            worst = names[name]["lowest" if "spread" in name else "highest"]
            cells.append(f"{names[name]['mean']:.3f} ({worst:.3f})")
        rows.append([task, *cells])
    table = markdown_table(["task", *_FIDELITY.values()], rows)
    return f"{table}\n\n{_FIDELITY_NOTE}"


def _score(group: Mapping[str, Any] | None) -> str:
    if group is None:
        return "-"
    if group["interval_95"] is None:
        return f"{group['mean']:.1f}"
    half = (group["interval_95"][1] - group["interval_95"][0]) / 2
    return f"{group['mean']:.1f} ± {half:.1f} ({min(group['scores']):.1f})"
