"""Trainings side by side: a table, what their settings differ in, and curves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ractd_jax.errors import DataError
from ractd_jax.files import check_writable, save_figure, write_bytes
from ractd_jax.reports.runs import TrainingRun, read_runs
from ractd_jax.settings import differences
from ractd_jax.tables import markdown_table

# Metrics of the table of last values, besides losses.
_MEASURES = (
    *("fidelity/spread", "fidelity/error", "fidelity/mode_gap"),
    *("reward/student_median", "reward/data_median", "rank/values", "accuracy"),
)
_NONE = "-"
_COLUMNS = 2
# (stage, metric) -> the runs whose curves stand in one panel.
Panels = dict[tuple[str, str], list[TrainingRun]]


def compare_runs(
    folders: Sequence[str | os.PathLike],
    output: str | os.PathLike | None = None,
    preset_of: Callable[[Mapping[str, Any]], str] | None = None,
) -> str:
    """Compares trainings, finished or running; one alone is summarised.

    Args:
      folders: of trainings, or of pipelines and sweeps, which hold such.
      output: folder that gets compare.md and compare.png; None for no files.
      preset_of: settings -> the preset that they come from, in words.

    Returns:
      The tables as Markdown.

    Raises:
      DataError: a folder holds no training, a file is damaged or cannot be written, or
        several folders have no loss of a stage in common.
    """
    runs = read_runs(folders)
    panels = common_losses(runs, several=len(set(map(str, folders))) > 1)
    files = [] if output is None else [Path(output) / f"compare.{e}" for e in _ENDINGS]
    check_writable(*files)
    text = format_comparison(runs, preset_of)
    if files:
        table, picture = files
        image = f"\n![losses over the steps]({picture.name})\n" if panels else ""
        if panels:
            draw_panels(picture, panels)
        write_bytes(table, (text + image).encode())
    return text


_ENDINGS = ("md", "png")


def common_losses(runs: Sequence[TrainingRun], several: bool) -> Panels:
    """The losses to draw: with `several` folders those that two runs share.

    Raises:
      DataError: they share none.
    """
    panels: Panels = {}
    for run in runs:
        for name in _losses(run):
            panels.setdefault((run.stage, name), []).append(run)
    if not several or len(runs) == 1:
        return panels
    shared = {key: found for key, found in panels.items() if len(found) > 1}
    if not shared:
        described = [
            f"{run.stage or 'unknown stage'} with {', '.join(_losses(run)) or 'none'}"
            for run in runs
        ]
        raise DataError(
            ", ".join(run.name for run in runs),
            expected="trainings of one stage with a logged loss in common",
            found="; ".join(described),
        )
    return shared


def format_comparison(
    runs: Sequence[TrainingRun],
    preset_of: Callable[[Mapping[str, Any]], str] | None = None,
) -> str:
    """Everything but the curves, as Markdown."""
    parts = [markdown_table(_HEADER, [_about(run, preset_of) for run in runs])]
    if values := _settings_that_differ(runs):
        parts += ["Settings that differ:", _table("setting", values, runs)]
    elif len(runs) > 1:
        parts += ["No setting differs."]
    if values := _last_values(runs):
        parts += ["Last logged values:", _table("metric", values, runs)]
    if scores := [row for run in runs for row in _score_rows(run)]:
        parts += [
            "Scores, with bootstrap intervals over the episodes of the one training "
            "(they say nothing about other seeds):",
            markdown_table(_SCORES, scores),
        ]
    return "\n\n".join(parts) + "\n"


_HEADER = ("run", "stage", "task", "preset", "steps", "wall time", "steps/s")
_SCORES = ("run", "evaluation", "episodes", "score", "95% interval", "median")


def _about(run: TrainingRun, preset_of) -> list[str]:
    settings, seconds = run.settings, run.seconds
    steps = f"{run.step} of {run.num_steps}" if run.num_steps else f"{run.step}"
    return [
        run.name,
        run.stage or _NONE,
        str(settings["task"]) if settings else _NONE,
        preset_of(settings) if settings and preset_of else _NONE,
        steps,
        _NONE if seconds is None else _duration(seconds),
        _number(run.rate),
    ]


def _settings_that_differ(runs: Sequence[TrainingRun]) -> dict[str, list[str]]:
    """Setting -> its value in each run, of those that are not alike in all."""
    known = [run.settings for run in runs if run.settings]
    names = {
        name: None
        for other in known[1:]
        for name, *_ in differences(known[0], other, known[0])
    }
    return {name: [_setting(run, name) for run in runs] for name in sorted(names)}


def _setting(run: TrainingRun, name: str) -> str:
    value: Any = run.settings
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if run.settings is None:
        return _NONE
    return "none" if value is None else str(value)


def _last_values(runs: Sequence[TrainingRun]) -> dict[str, list[str]]:
    """Metric -> its last value in each run."""
    lasts = [run.last for run in runs]
    losses = dict.fromkeys(name for run in runs for name in _losses(run))
    measures = [name for name in _MEASURES if any(name in last for last in lasts)]
    return {
        name: [_number(last.get(name)) for last in lasts]
        for name in (*losses, *measures)
    }


def _losses(run: TrainingRun) -> list[str]:
    """Their names; what is measured on held-out data comes last."""
    names = [name for name in run.last if name.startswith("loss/")]
    return sorted(names, key=lambda name: "held_out" in name)


def _score_rows(run: TrainingRun) -> Iterable[list[str]]:
    for score in run.scores:
        low, high = score.interval
        yield [
            run.name,
            score.asked,
            str(score.episodes),
            f"{score.mean:.1f}",
            f"{low:.1f} .. {high:.1f}",
            f"{score.median:.1f}",
        ]


def _table(
    what: str, values: Mapping[str, Sequence[str]], runs: Sequence[TrainingRun]
) -> str:
    """A column for each run or, where there are more runs than values, a row."""
    names = [run.name for run in runs]
    if len(names) <= len(values):
        rows = [[name, *found] for name, found in values.items()]
        return markdown_table([what, *names], rows)
    columns = zip(*values.values(), strict=True)
    rows = [[name, *found] for name, found in zip(names, columns, strict=True)]
    return markdown_table(["run", *values], rows)


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:.0f}" if 1_000 <= abs(value) < 1e6 else f"{value:.4g}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def draw_panels(path: str | os.PathLike, panels: Panels) -> None:
    """Losses over the steps: a panel for each loss of a stage, a line for each run."""
    from matplotlib.figure import Figure

    names = dict.fromkeys(run.name for runs in panels.values() for run in runs)
    colours = {name: f"C{i % 10}" for i, name in enumerate(names)}
    styles = {name: ("-", "--", ":", "-.")[i // 10 % 4] for i, name in enumerate(names)}
    count = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(9.0, 2.2 * count + 0.6), layout="constrained")
    axes = figure.subplots(count, _COLUMNS, squeeze=False).ravel()
    handles = {}
    for axis, ((stage, metric), runs) in zip(axes, panels.items(), strict=False):
        for run in runs:
            style = {"color": colours[run.name], "linestyle": styles[run.name]}
            (handles[run.name],) = axis.plot(*run.curve(metric), linewidth=1.2, **style)
        if all(min(run.curve(metric)[1]) > 0 for run in runs):
            axis.set_yscale("log")
        axis.set_title(f"{stage}: {metric}" if stage else metric, fontsize="medium")
        axis.set_xlabel("optimiser step", fontsize="small")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        frameon=False,
        fontsize="small",
        ncols=min(4, len(handles)),
    )
    save_figure(figure, path, 120)
