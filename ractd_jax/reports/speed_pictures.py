"""Score against the time of a plan, for the planners of a benchmark."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ractd_jax.files import save_figure
from ractd_jax.reports.aggregate_pictures import COLORS

_DPI = 130
_MARKERS = "osD^vP*"


def draw_speeds(path: str | os.PathLike, tasks: Mapping[str, Any]) -> None:
    """A panel for each task, a point for each planner whose plans were timed.

    Bars are 95% intervals over training seeds; the number beside a point is its NFE.
    Planners whose names begin alike, up to the first comma, share a colour and a line.

    Args:
      path: PNG to write.
      tasks: from :func:`benchmark_table.summarize_cells`.

    Raises:
      ValueError: no planner has a time.
    """
    from matplotlib.figure import Figure

    found = {task: timed_planners(entry) for task, entry in tasks.items()}
    families = list(dict.fromkeys(name for lines in found.values() for name in lines))
    if not families:
        raise ValueError("tasks: expected planners with ms_per_plan, found none")
    styles = {
        name: {
            "color": COLORS[i % len(COLORS)],
            "marker": _MARKERS[i % len(_MARKERS)],
        }
        for i, name in enumerate(families)
    }
    figure = Figure(figsize=(max(5.5, 4.2 * len(tasks)), 4.0), layout="constrained")
    axes = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axis, (task, lines) in zip(axes, found.items(), strict=True):
        for name, points in lines.items():
            _draw_line(axis, name, points, styles[name])
        data = tasks[task]["data"]["score_mean"]
        axis.axhline(data, color="grey", linestyle=":", label="data, mean")
        axis.set_xscale("log")
        axis.set_xlabel("milliseconds per plan, batch 1, one core")
        axis.set_title(task, fontsize="medium")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("score")
    axes[-1].legend(
        fontsize="small",
        frameon=False,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        title="numbers: NFE",
        title_fontsize="small",
    )
    save_figure(figure, path, _DPI)


def timed_planners(entry: Mapping[str, Any]) -> dict[str, list[tuple]]:
    """Family -> (median milliseconds, NFE, mean score, interval or None), by time."""
    lines: dict[str, list[tuple]] = {}
    for label, group in entry["planners"].items():
        times = [ms for ms in group["ms_per_plan"] if ms]
        if times:
            point = (float(np.median(times)), group["nfe"], group["mean"])
            family = label.partition(",")[0]
            lines.setdefault(family, []).append((*point, group["interval_95"]))
    return {name: sorted(points, key=_time) for name, points in lines.items()}


def _time(point: tuple) -> float:
    return point[0]


def _draw_line(axis, name: str, points: list[tuple], style: dict[str, str]) -> None:
    times, nfes, means, _ = zip(*points, strict=True)
    bounds = [interval or (mean, mean) for _, _, mean, interval in points]
    low, high = np.transpose(bounds)
    reach = np.subtract(means, low), np.subtract(high, means)
    axis.errorbar(times, means, reach, label=name, capsize=2, linewidth=1, **style)
    for time, nfe, mean in zip(times, nfes, means, strict=True):
        axis.annotate(
            str(nfe),
            (time, mean),
            textcoords="offset points",
            xytext=(5, 4),
            fontsize="x-small",
            color=style["color"],
        )
