"""The report of a pipeline: a table and two pictures, from saved results."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ractd_jax.evaluation.results import EpisodeResults
from ractd_jax.files import save_figure
from ractd_jax.reports.statistics import (
    bootstrap_interval,
    normalized_score,
    summarize,
    two_mode_threshold,
)
from ractd_jax.settings import Environment
from ractd_jax.tables import markdown_table

_COLUMNS = ("planner", "NFE", "score", "95% interval", "median", "upper mode",
            "ms per action", "(p95)", "running_max_score")  # fmt: skip


def build_report(
    dataset_returns: np.ndarray,
    results: Mapping[str, EpisodeResults],
    nfe: Mapping[str, int],
    latency: Mapping[str, dict[str, float]],
    environment: Environment,
) -> dict:
    """JSON-able comparison of planners on one dataset.

    Args:
      dataset_returns: [E] true returns of the data's episodes.
      results: planner name -> raw evaluation.
      nfe: planner name -> network evaluations per plan in that evaluation.
      latency: planner name -> seconds per batch-1 plan.
      environment: has the reference returns of the score.

    Returns:
      ``upper_mode_return`` (the return that best splits the data's episodes in two),
      ``dataset`` and, for each planner, its statistics and ``upper_mode_share``.
    """
    threshold = two_mode_threshold(dataset_returns)
    rows = {}
    for name, result in results.items():
        rows[name] = {
            **summarize(result, environment),
            "upper_mode_share": float(np.mean(result.returns > threshold)),
            "nfe": nfe[name],
        }
    return {
        "upper_mode_return": threshold,
        "dataset": _dataset_row(dataset_returns, threshold, environment),
        "planners": rows,
        "latency": dict(latency),
    }


def _dataset_row(
    returns: np.ndarray, threshold: float, environment: Environment
) -> dict:
    scores = normalized_score(returns, environment)
    return {
        "episodes": len(scores),
        "score_mean": float(scores.mean()),
        "score_interval_95": list(bootstrap_interval(scores)),
        "score_median": float(np.median(scores)),
        "upper_mode_share": float(np.mean(returns > threshold)),
    }


def table_rows(report: dict) -> list[tuple[str, ...]]:
    """The report's table as text: a header, the data, a row for each planner."""
    rows = [_COLUMNS]
    for name, row in {"data": report["dataset"], **report["planners"]}.items():
        low, high = row["score_interval_95"]
        timing = report["latency"].get(name)
        rows.append(
            (
                name,
                str(row.get("nfe", "-")),
                f"{row['score_mean']:.1f}",
                f"{low:.1f} .. {high:.1f}",
                f"{row['score_median']:.1f}",
                f"{100 * row['upper_mode_share']:.0f}%",
                f"{1e3 * timing['p50']:.2f}" if timing else "-",
                f"{1e3 * timing['p95']:.2f}" if timing else "-",
                f"{row['running_max_score']:.1f}" if "nfe" in row else "-",
            )
        )
    return rows


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """A header and rows as a Markdown table."""
    header, *rows = rows
    return markdown_table(header, rows)


def explain_report(report: dict, temperature: float) -> str:
    """A summary of a pipeline's report in three sentences."""
    rows, fidelity = report["planners"], report["fidelity"]
    every = "CTD, all windows" in fidelity
    suffix = ", all windows" if every else ""
    teacher, ctd, ractd = (
        rows[name] for name in (f"teacher{suffix}", f"CTD{suffix}", "RACTD")
    )

    def scored(row):
        return (
            f"{row['score_mean']:.1f} with {100 * row['upper_mode_share']:.0f}% of the "
            "episodes in the upper mode"
        )

    kept = fidelity[f"CTD{suffix}"]
    windows = " all windows" if every else " the data"
    return (
        f"The data scores {scored(report['dataset'])}. "
        f"A teacher trained on{windows} scores {scored(teacher)}, and CTD, which makes "
        f"the same plans in one step ({100 * kept['spread']:.0f}% of the teacher's "
        f"spread, error {100 * kept['error']:.0f}% of it), {scored(ctd)}. "
        f"RACTD{', trained on chosen windows' if every else ''} and sampled at "
        f"temperature {temperature:g}, scores {scored(ractd)}, in one network "
        "evaluation."
    )


_FIDELITY = (
    "spread",
    "plan_spread",
    "error",
    "plan_error",
    "sliced_wasserstein",
    "mode_share",
    "teacher_mode_share",
    "mode_gap",
)


def fidelity_rows(report: dict) -> list[Sequence[str]]:
    """Fidelity of one step to its teacher: a header, and a row for each student.

    The columns are those of :func:`ractd_jax.student.fidelity.fidelity`.
    """
    header = ["one step against its teacher", *(n.replace("_", " ") for n in _FIDELITY)]
    return [
        header,
        *(
            [label, *(f"{found[name]:.3f}" for name in _FIDELITY)]
            for label, found in report["fidelity"].items()
        ),
    ]


def event_rows(report: dict) -> list[Sequence[str]]:
    """Share of episodes in which each event happened: a header, a row a planner.

    Empty where the environment family names no events.
    """
    rows = {
        label: row["events"]
        for label, row in report["planners"].items()
        if "events" in row
    }
    if not rows:
        return []
    names = list(next(iter(rows.values())))
    return [
        ["done in % of the episodes", *names],
        *(
            [label, *(f"{100 * found[name]['share']:.0f}%" for name in names)]
            for label, found in rows.items()
        ),
    ]


def format_html(
    title: str,
    before: str,
    report: dict,
    after: Sequence[str],
    pictures: Sequence[os.PathLike],
) -> str:
    """The report as one HTML page that needs no other file."""
    table, kept = map(_html_table, (table_rows(report), fidelity_rows(report)))
    if events := event_rows(report):
        kept += _html_table(events)
    images = "".join(
        f'<p><img alt="{Path(path).stem}" src="data:image/png;base64,'
        f'{base64.b64encode(Path(path).read_bytes()).decode()}"></p>'
        for path in pictures
    )
    paragraphs = [f"<p>{html.escape(text)}</p>" for text in (before, *after)]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>body{{font-family:sans-serif;"
        "max-width:60em;margin:2em auto}td,th{padding:.2em .8em;text-align:left}"
        f"</style><h1>{html.escape(title)}</h1>{paragraphs[0]}"
        f"{table}{''.join(paragraphs[1:])}{kept}{images}</html>\n"
    )


def _html_table(rows: Sequence[Sequence[str]]) -> str:
    header, *rows = rows
    lines = ["<tr>" + "".join(f"<th>{html.escape(c)}</th>" for c in header) + "</tr>"]
    for row in rows:
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


def draw_curves(
    path: str | os.PathLike, metrics: Mapping[str, Sequence[Mapping[str, float]]]
) -> None:
    """Losses of each training over its steps.

    Args:
      path: PNG to write.
      metrics: stage -> the rows of its metrics.jsonl.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 1.7 * len(metrics)), layout="constrained")
    axes = figure.subplots(len(metrics), 1, squeeze=False)[:, 0]
    for axis, (stage, rows) in zip(axes, metrics.items(), strict=True):
        names = [name for name in rows[-1] if name.startswith("loss/")]
        for name in names:
            points = [(row["step"], row[name]) for row in rows if name in row]
            axis.plot(*zip(*points, strict=True), label=name.removeprefix("loss/"))
        if all(row[name] > 0 for row in rows for name in names if name in row):
            axis.set_yscale("log")
        axis.set_ylabel(stage, rotation=0, ha="right", va="center")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize="small", ncols=len(names))
    axes[-1].set_xlabel("optimiser step")
    save_figure(figure, path, 120)


def draw_returns(
    path: str | os.PathLike,
    dataset_returns: np.ndarray,
    results: Mapping[str, EpisodeResults],
    environment: Environment,
    threshold: float,
) -> None:
    """Histograms of true scores, data first (Duan 2025, figure 3.3)."""
    from matplotlib.figure import Figure

    groups = {"data": dataset_returns} | {k: v.returns for k, v in results.items()}
    scores = {name: normalized_score(r, environment) for name, r in groups.items()}
    highest = max(100.0, *(values.max() for values in scores.values()))
    bins = np.linspace(0.0, 1.05 * highest, 43)
    figure = Figure(figsize=(7.0, 1.25 * len(scores)), layout="constrained")
    axes = figure.subplots(len(scores), 1, sharex=True, squeeze=False)[:, 0]
    split = float(normalized_score(np.array(threshold), environment))
    for axis, (name, values) in zip(axes, scores.items(), strict=True):
        counts, _ = np.histogram(np.clip(values, bins[0], bins[-1]), bins)
        axis.stairs(counts / len(values), bins, fill=True)
        axis.axvline(split, color="black", linewidth=0.8, linestyle=":")
        axis.set_ylabel(name, rotation=0, ha="right", va="center")
        axis.set_yticks([])
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[-1].set_xlabel("score of the true return (dotted: split of the two modes)")
    save_figure(figure, path, 120)
