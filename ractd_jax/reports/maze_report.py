"""The tables of maze2d: samplers beside published numbers, and additions to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ractd_jax.tables import markdown_table

# Three-maze averages: RACTD, CTD, EDM and DDPM of Duan (2025, table 3.2), Diffuser
# (Janner et al. 2022) and Diffusion Veteran (Lu et al. 2025).
PUBLISHED = {
    "Diffuser, 256 steps": 119.5,
    "DDPM": 132.6,
    "EDM teacher": 131.5,
    "CTD, 1 step": 123.4,
    "RACTD, 1 step": 133.4,
    "Diffusion Veteran": 163.6,
}


def _score(row: Mapping) -> str:
    low, high = row["score_interval_95"]
    return f"{row['score_mean']:.1f} ({low:.1f} .. {high:.1f})"


def _average(rows: Sequence[Mapping]) -> str:
    return f"{np.mean([row['score_mean'] for row in rows]):.1f}"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}%"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown_table(header, rows, rule=" --- ")


def _labels(results: Mapping[str, Mapping], section: str) -> list[str]:
    return list(next(iter(results.values()))[section])


def _table(results, section, columns) -> str:
    """Rows are labels, columns mazes; `columns` adds columns other than scores."""
    mazes = list(results)
    header = ["planner", *mazes, "average", *columns]
    rows = []
    for label in _labels(results, section):
        found = [results[maze][section][label] for maze in mazes]
        cells = [_score(row) for row in found]
        extra = [" / ".join(show(row) for row in found) for show in columns.values()]
        rows.append([label, *cells, _average(found), *extra])
    return _markdown(header, rows)


def format_tables(results: Mapping[str, Mapping]) -> str:
    """Markdown of all tables.

    Args:
      results: maze -> ``samplers`` and ``additions`` (label -> row), ``latency``
        (label -> seconds) and ``settings`` of the runs.
    """
    samplers = _table(
        results,
        "samplers",
        {
            "NFE": lambda row: str(row["nfe"] or "-"),
            "ms per plan": lambda row: _milliseconds(row["seconds_per_plan"]),
            "reached": lambda row: _share(row["reached_share"]),
            "plans through a wall": lambda row: _share(row["collided_share"]),
        },
    )
    additions = _table(
        results,
        "additions",
        {
            "reached": lambda row: _share(row["reached_share"]),
            "plans through a wall": lambda row: _share(row["collided_share"]),
        },
    )
    published = _markdown(
        ["published, average of three mazes", "score"],
        [[label, f"{score:.1f}"] for label, score in PUBLISHED.items()],
    )
    speed = _markdown(
        ["maze", "one-step plan", "EDM teacher", "ratio", "DDPM, 256 steps", "ratio"],
        [_speed_row(maze, found["latency"]) for maze, found in results.items()],
    )
    return "\n\n".join([samplers, published, additions, speed]) + "\n"


def _speed_row(maze: str, latency: Mapping[str, float]) -> list[str]:
    one = latency["ractd"]
    cells = [maze, f"{1e3 * one:.2f} ms"]
    for name in ("teacher", "ddpm_256"):
        cells += [f"{1e3 * latency[name]:.0f} ms", f"{latency[name] / one:.0f}x"]
    return cells
