"""Tables of groups of trainings, in Markdown and LaTeX, with their notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ractd_jax.tables import latex_row, latex_text, markdown_table

_HEADINGS = {"offline": "offline: last checkpoint", "online": "online: best checkpoint"}
_STATISTICS = {"mean": "mean", "iqm": "IQM", "median": "median"}
_FEW_RUNS = 10


def format_markdown(summary: Mapping, command: str) -> str:
    """The table of :func:`aggregate_summary.summarize_groups`, and its notes."""
    spans, header = _header(summary)
    joined = [
        f"{span} {name}".strip() for span, name in zip(spans, header, strict=True)
    ]
    table = markdown_table(joined, _rows(summary), rule=" --- ")
    return "\n\n".join([table, *notes(summary), f"Made by: `{command}`"]) + "\n"


def format_latex(summary: Mapping, command: str) -> str:
    """The same table as a LaTeX tabular, which needs the package booktabs.

    Rows begin with ``{}``: a bracket after a line's end would be its argument.
    """
    spans, header = _header(summary)
    first = len(summary["by"]) + 2
    top, rules, at = [""] * (first - 1), [], first
    for selection in _HEADINGS:
        width = spans.count(f"{selection}:")
        top.append(rf"\multicolumn{{{width}}}{{c}}{{{_HEADINGS[selection]}}}")
        rules.append(rf"\cmidrule(lr){{{at + 1}-{at + width}}}")
        at += width
    columns = "l" * len(summary["by"]) + "rr" + "l" * (len(header) - first)
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(["", *top]) + r" \\",
        "".join(rules),
        latex_row(header),
        r"\midrule",
        *("{}" + latex_row(row) for row in _rows(summary)),
        r"\bottomrule",
        r"\end{tabular}",
        "",
    ]
    made = rf"Made by: \texttt{{{latex_text(command)}}}"
    text = "\n\n".join([*map(latex_text, notes(summary)), made])
    return "\n".join(lines) + "\n{\\footnotesize\n" + text + "\n\n}\n"


def notes(summary: Mapping) -> list[str]:
    """Notes that a reader of the table needs."""
    rows = summary["groups"]
    tasks = ", ".join(f"{t} ({e})" for t, e in summary["tasks"].items())
    percent = f"{100 * summary['confidence']:g}%"
    fewest = min(min(row["runs"].values()) for row in rows)
    text = [
        "A run is one training; its score is the mean over episodes of "
        f"100 (R - min) / (max - min), from raw returns. Tasks: {tasks}. IQM: mean of "
        "the middle half of all runs. Median: over tasks, of the means over runs"
        + ("; below three tasks it is the mean." if len(summary["tasks"]) < 3 else "."),
        f"In brackets: {percent} percentile bootstrap interval over runs, resampled "
        f"within each task, {summary['resamples']} resamples; none below two runs of "
        "each task."
        + (
            f" With fewer than {_FEW_RUNS} runs, as here, they are too narrow: see "
            "docs/statistics.md."
            if fewest < _FEW_RUNS
            else ""
        ),
        f"Offline selection: the last checkpoint ({_steps(rows)}). Online selection: "
        "each run's best checkpoint by its evaluation, which cost all the evaluation "
        "episodes of the last column. It selects by the same episodes that it reports, "
        "so it is optimistic.",
    ]
    if summary["baseline"] is not None:
        text.append(
            f"P(> {summary['baseline']}): probability that a run scores higher than "
            "one of that group on the same task, ties a half; by last checkpoints."
        )
    if summary["pooled"]:
        text.append(
            f"Runs of a group differ in {', '.join(summary['pooled'])}: pooled over it."
        )
    text.append(_non_finite(rows))
    trainings = sum(row["members"] for row in rows)
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    text.append(
        f"{trainings} trainings with {len(seeds)} seeds ({_ranges(seeds)}). Episodes: "
        f"{sum(row['offline']['episodes'] for row in rows)} at last checkpoints, "
        f"{sum(row['online']['episodes'] for row in rows)} in all."
    )
    return text


def _header(summary):
    """The line above the columns' names, such as ``offline:``, and the names."""
    offline = list(_STATISTICS.values())
    if summary["baseline"] is not None:
        offline.append(f"P(> {summary['baseline']})")
    online = [*_STATISTICS.values(), "episodes"]
    left = [*summary["by"], "runs", "non-finite"]
    spans = [""] * len(left) + ["offline:"] * len(offline) + ["online:"] * len(online)
    return spans, [*left, *offline, *online]


def _rows(summary) -> list[list[str]]:
    rows = []
    for row in summary["groups"]:
        counts = sorted(set(row["runs"].values()))
        runs = " to ".join(map(str, {counts[0]: 0, counts[-1]: 0}))
        offline, online = row["offline"], row["online"]
        cells = [*row["params"].values(), runs]
        cells.append(f"{len(row['non_finite'])} of {row['members']}")
        cells += [_cell(offline[name], 1) for name in _STATISTICS]
        if summary["baseline"] is not None:
            cells.append(_cell(offline["improvement"], 2))
        cells += [_cell(online[name], 1) for name in _STATISTICS]
        rows.append([*cells, str(online["episodes"])])
    return rows


def _cell(estimate: Mapping | None, digits: int) -> str:
    if estimate is None:
        return "-"
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    if low is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _non_finite(rows) -> str:
    diverged = [member for row in rows for member in row["non_finite"]]
    total = sum(row["members"] for row in rows)
    if not diverged:
        return f"None of {total} trainings became non-finite."
    named = "; ".join(
        f"{m['name']} ({m['task']}, from step {m['from_step']})" for m in diverged
    )
    return (
        f"{len(diverged)} of {total} trainings became non-finite: {named}. They have "
        "no score and are in none of the scores above, which are those of the runs "
        "that stayed finite; a group without such a run on some task has none."
    )


def _steps(rows) -> str:
    steps = sorted({step for row in rows for step in row["last_steps"]})
    return "step " + ", ".join(map(str, steps)) if steps else "none is finite"


def _ranges(numbers: Sequence[int]) -> str:
    """``0 to 4`` for consecutive numbers, else a list."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))
