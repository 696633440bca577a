"""Tables of the experiments on unseen combinations, over training seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ractd_jax.reports.statistics import seed_interval
from ractd_jax.tables import markdown_table

_KINDS = {
    "seen": "seen pairs",
    "held_out": "pairs held out",
    "detours": "detours",
}
_NOTE = (
    "Plans in %: valid (no wall crossed, every waypoint and the goal passed within 0.5 "
    "m), mean over training seeds and half the width of its 95% interval (Student's "
    "t); in brackets without the waypoints: no wall crossed. Without waypoints a plan "
    "cannot know by which way it is asked to go."
)


def maze_tables(cells: Sequence[Mapping[str, Any]]) -> str:
    """Markdown of the cells of one or several mazes.

    Args:
      cells: of :func:`ractd_jax.pipelines.combinations.maze.run_maze_cell`.
    """
    parts = []
    for maze in dict.fromkeys(cell["maze"] for cell in cells):
        own = [cell for cell in cells if cell["maze"] == maze]
        parts += [
            f"## {maze}",
            about_cells(own, f"{own[0]['queries']} plans of each kind and seed"),
            _validity(own),
            _NOTE,
            _support(own),
        ]
    return "\n\n".join(parts) + "\n"


def about_cells(cells: Sequence[Mapping[str, Any]], counted: str) -> str:
    """Seeds, `counted` in words, machine, versions, commit and time of some cells."""
    names = ("processor", "cores", "jax", "commit")
    about = {
        name: ", ".join(sorted({str(cell["about"][name]) for cell in cells}))
        for name in names
    }
    seeds = ", ".join(str(cell["seed"]) for cell in cells)
    minutes = [sum(cell["about"]["seconds"].values()) / 60 for cell in cells]
    return (
        f"Training seeds {seeds}; {counted}. "
        f"{about['processor']}, {about['cores']} cores; JAX {about['jax']}; commit "
        f"{about['commit']}. Trainings of a seed: {np.mean(minutes):.0f} minutes."
    )


def _validity(cells: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for label, first in cells[0]["rows"].items():
        found = [cell["rows"][label] for cell in cells]
        row = [label]
        for kind in _KINDS:
            valid = _percent([each[kind]["valid"] for each in found])
            free = np.mean([each[kind]["free"] for each in found])
            row.append(f"{valid} [{100 * free:.0f}]")
        times = np.median([each["ms_per_plan"] for each in found])
        row += [str(first["nfe"]), f"{times:.1f}", f"{first['parameters']:,}"]
        rows.append(row)
    costs = "network evaluations", "ms per plan, batch 1, one core", "parameters"
    return markdown_table(["planner", *_KINDS.values(), *costs], rows)


def _support(cells: Sequence[Mapping[str, Any]]) -> str:
    checks = cells[0]["checks"]
    header = ["% of what is asked, seen in training", *checks["slots"], "all together"]
    rows = []
    for kind, name in _KINDS.items():
        found = checks[kind]
        shares = [*found["slots"], found["combinations"]]
        rows.append([name, *(f"{100 * share:.0f}" for share in shares)])
    return markdown_table(header, rows)


def _percent(shares: Sequence[float]) -> str:
    mean, interval = 100 * np.mean(shares), seed_interval(shares)
    if interval is None:
        return f"{mean:.1f}"
    return f"{mean:.1f} ± {50 * (interval[1] - interval[0]):.1f}"
