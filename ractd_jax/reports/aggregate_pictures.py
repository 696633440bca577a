"""Pictures of groups of trainings: profiles, intervals, and scores along training.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; line styles
change where they repeat.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from ractd_jax.files import save_figure
from ractd_jax.reports import aggregate
from ractd_jax.reports.aggregate_summary import Groups, scores_of, task_names
from ractd_jax.reports.member_groups import label_of
from ractd_jax.reports.results_table import Member

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", ":", "-.")
_DPI = 130
_THRESHOLDS = 201
_RESAMPLES = 2_000  # of each point of a curve
_STATISTICS = {"mean": "mean", "iqm": "IQM", "median": "median over tasks"}
_SELECTIONS = {
    "offline": ("last checkpoint", -0.14, True),
    "online": ("best checkpoint (optimistic)", 0.14, False),
}


def draw_profiles(path: str | os.PathLike, groups: Groups, by: Sequence[str]) -> None:
    """Share of runs above each score, by last checkpoints, with pointwise bands."""
    tasks = task_names(groups)
    found = {
        key: scores_of(members, tasks, "offline") for key, members in groups.items()
    }
    figure, axis = _one_axis(6.5, 3.8)
    values = [values for scores in found.values() for values in scores or ()]
    lowest, highest = _limits(np.concatenate(values) if values else np.zeros(1))
    thresholds = np.linspace(lowest, highest, _THRESHOLDS)
    for style, (key, scores) in zip(_styles(groups), found.items(), strict=True):
        label = f"{label_of(by, key)}: {_counts(groups[key])}"
        if scores is None:
            axis.plot([], [], **style, label=label)
            continue
        profile = aggregate.performance_profile(scores, thresholds, _RESAMPLES)
        axis.step(thresholds, profile.value, where="post", **style, label=label)
        if profile.low is not None:
            axis.fill_between(
                thresholds,
                profile.low,
                profile.high,
                step="post",
                **_band_style(style, groups),
            )
    axis.set_xlim(lowest, highest)
    axis.set_ylim(-0.02, 1.02)
    axis.set_xlabel("score of the last checkpoint")
    axis.set_ylabel("share of runs above it")
    _legend(figure, axis, "bands: 95% bootstrap over runs, at each score by itself")
    save_figure(figure, path, _DPI)


def draw_intervals(path: str | os.PathLike, summary: Mapping) -> None:
    """Mean, IQM and median of every group with their intervals, by both selections.

    Args:
      path: PNG to write.
      summary: from :func:`aggregate_summary.summarize_groups`.
    """
    from matplotlib.figure import Figure

    rows = summary["groups"]
    figure = Figure(figsize=(9.0, 1.5 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots(1, len(_STATISTICS), sharey=True, sharex=True)
    for axis, (name, title) in zip(axes, _STATISTICS.items(), strict=True):
        for selection, (label, offset, filled) in _SELECTIONS.items():
            color = COLORS[0] if filled else COLORS[1]
            drawn = [(i, row[selection][name]) for i, row in enumerate(rows)]
            for i, found in drawn:
                if found is None:
                    continue
                if found["low"] is not None:
                    ends = found["low"], found["high"]
                    axis.plot(ends, [i + offset] * 2, color=color, linewidth=2)
                axis.plot(
                    found["value"],
                    i + offset,
                    "o",
                    color=color,
                    markerfacecolor=color if filled else "white",
                )
            axis.plot(
                [], [], "o-", color=color, label=label,
                markerfacecolor=color if filled else "white",
            )  # fmt: skip
        axis.set_title(title, fontsize="medium")
        axis.set_xlabel("score")
        axis.grid(axis="x", linewidth=0.4)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(rows)), [_row_label(row) for row in rows])
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        title="lines: 95% bootstrap over runs",
        fontsize="small",
        title_fontsize="small",
    )
    save_figure(figure, path, _DPI)


def draw_values(path: str | os.PathLike, tasks: Mapping, name: str) -> None:
    """Score against a swept value, a panel for each task, a line for each planner.

    Bands are 95% intervals over training seeds, where there are several.

    Args:
      path: PNG to write.
      tasks: from :func:`benchmark_table.summarize_cells`, with labels that end in
        ``, NAME VALUE``.
      name: name of the value.
    """
    from matplotlib.figure import Figure

    size = (max(4.5, 3.4 * len(tasks)), 3.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axis, (task, entry) in zip(axes, tasks.items(), strict=True):
        lines: dict[str, dict[float, Mapping]] = {}
        for label, group in entry["planners"].items():
            planner, _, value = label.rpartition(f", {name} ")
            lines.setdefault(planner, {})[float(value)] = group
        for color, (planner, groups) in zip(COLORS, lines.items(), strict=False):
            values = sorted(groups)
            means = [groups[value]["mean"] for value in values]
            axis.plot(values, means, "o-", color=color, label=planner)
            if all(groups[value]["interval_95"] for value in values):
                bounds = np.transpose([groups[v]["interval_95"] for v in values])
                axis.fill_between(values, *bounds, color=color, alpha=0.2, linewidth=0)
        axis.axhline(
            entry["data"]["score_mean"], color="grey", linestyle=":", label="data, mean"
        )
        # Weights span decades, and 0 is one of them.
        shown = sorted({value for values in lines.values() for value in values})
        if shown[-1] > 2.0:
            axis.set_xscale("symlog", linthresh=1.0)
            axis.set_xlim(shown[0] - 0.1, 1.2 * shown[-1])
            axis.set_xticks(shown, [f"{value:g}" for value in shown])
            axis.minorticks_off()
        axis.set_title(task, fontsize="medium")
        axis.set_xlabel(name)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("score")
    _legend(figure, axes[0], "bands: 95% intervals over training seeds")
    save_figure(figure, path, _DPI)


def draw_training(path: str | os.PathLike, groups: Groups, by: Sequence[str]) -> None:
    """Score against training step, a panel for each task (Duan 2025, figure 3.4).

    A line is the mean over the runs that stayed finite, at the steps that all of them
    have. Its band is the 95% bootstrap interval of that mean: with two runs it reaches
    from the lower to the higher, with one there is none. Other runs are thin lines that
    end in a cross at their last finite checkpoint.
    """
    from matplotlib.figure import Figure

    tasks = task_names(groups)
    columns = min(len(tasks), 3)
    lines = -(-len(tasks) // columns)
    size = (max(6.5, 4.2 * columns), 3.9 * lines + 0.12 * len(groups) * lines)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes[len(tasks) :]:
        axis.set_axis_off()
    diverged = any(not m.finite for members in groups.values() for m in members)
    title = "lines: mean over runs" + "; x: the last finite checkpoint" * diverged
    for axis, task in zip(axes, tasks, strict=False):
        for style, (key, members) in zip(_styles(groups), groups.items(), strict=True):
            here = [member for member in members if member.task.name == task]
            band_style = _band_style(style, groups)
            _draw_line(axis, here, label_of(by, key), style, band_style)
        axis.set_title(task, fontsize="medium")
        axis.set_xlabel("training step")
        axis.set_ylabel("score")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            frameon=False,
            fontsize="small",
            title=title,
            title_fontsize="small",
        )
    save_figure(figure, path, _DPI)


def training_curve(
    members: Sequence[Member],
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None, str]:
    """Steps, mean, lower and upper band [K] of finite runs, and what the band is."""
    scores = [{c.step: c.score for c in member.checkpoints} for member in members]
    steps = np.array(sorted(set.intersection(*map(set, scores))), np.int64)
    table = np.array([[found[step] for step in steps] for found in scores])
    means = table.mean(axis=0)
    if len(members) == 1:
        return steps, means, None, None, "no band"
    if len(members) == 2:
        return steps, means, table.min(axis=0), table.max(axis=0), "lowest to highest"
    found = [
        aggregate.estimate([column], aggregate.mean, _RESAMPLES) for column in table.T
    ]
    low, high = (np.array([getattr(e, end) for e in found]) for end in ("low", "high"))
    return steps, means, low, high, "95% bootstrap band"


def _draw_line(axis, members, label, style, band_style):
    finite = [member for member in members if member.finite]
    text = f"{label}: {_counts(members)}"
    if finite:
        steps, means, low, high, band = training_curve(finite)
        axis.plot(steps, means, **style, marker=".", label=f"{text}, {band}")
        if low is not None:
            axis.fill_between(steps, low, high, **band_style)
    else:
        axis.plot([], [], **style, label=text)
    for member in members:
        points = [(c.step, c.score) for c in member.evaluated]
        if not member.finite and points:
            axis.plot(*zip(*points, strict=True), color=style["color"], linewidth=0.7)
            axis.plot(*points[-1], "x", color=style["color"], markersize=7)


def _styles(groups):
    return [
        {
            "color": COLORS[i % len(COLORS)],
            "linestyle": _LINES[i // len(COLORS) % len(_LINES)],
        }
        for i in range(len(groups))
    ]


def _band_style(style, groups):
    """The style of a band, fainter where many overlap."""
    alpha = 0.2 if len(groups) <= 4 else 0.1
    return {"color": style["color"], "alpha": alpha, "linewidth": 0}


def _counts(members):
    """Such as ``4 runs``, and how many are left out."""
    finite = sum(member.finite for member in members)
    text = f"{finite} run{'s' * (finite != 1)}"
    return text + (
        f" ({len(members) - finite} more non-finite)" if finite < len(members) else ""
    )


def _row_label(row):
    text = row["label"]
    if row["non_finite"]:
        text += f"\n({len(row['non_finite'])} of {row['members']} non-finite)"
    return text


def _limits(values):
    """A little more than the range of `values`."""
    margin = 0.03 * max(np.ptp(values), 1.0)
    return values.min() - margin, values.max() + margin


def _one_axis(width, height):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


def _legend(figure, axis, title):
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=2 if len(labels) > 3 else 1,
        frameon=False,
        fontsize="small",
        title=title,
        title_fontsize="small",
    )
