"""From a config to a report: dataset, trainings, evaluations, times, and the text."""

from __future__ import annotations

import json
from pathlib import Path

import ractd_jax
from ractd_jax.data.sources import (
    OfflineDataset,
    load_resolved,
    require_rewards,
)
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.latency import one_core, plan_latency
from ractd_jax.files import check_writable, write_json, write_text
from ractd_jax.pipelines import trainings
from ractd_jax.pipelines.benchmark import measure_fidelity
from ractd_jax.pipelines.entries import (
    Entry,
    evaluate_entry,
    load_entry,
    trainings_of,
)
from ractd_jax.processes import is_first_process, wait_for_all
from ractd_jax.reports.event_pictures import draw_events
from ractd_jax.reports.report import (
    build_report,
    draw_curves,
    draw_returns,
    event_rows,
    explain_report,
    fidelity_rows,
    format_html,
    format_table,
    table_rows,
)
from ractd_jax.settings import Settings
from ractd_jax.tasks.environments import check_environment
from ractd_jax.training.stages import dimensions

_FILES = (
    *("report.json", "report.md", "report.html"),
    *("returns.png", "curves.png", "events.png"),
)


def run_pipeline(
    settings: Settings, workdir: Path, allow_config_change: bool = False
) -> str | None:
    """Trains, evaluates and reports; what is finished is not run again.

    Every process of a job calls it, and the first one evaluates.

    Args:
      settings: of the config.
      workdir: of everything; gets report.md, .html and .json and their pictures.
      allow_config_change: see :func:`ractd_jax.training.loop.train`.

    Returns:
      The report's text; None in the other processes.

    Raises:
      ConfigError: plans of states to a goal, which this pipeline does not run.
      DataError: the data has no rewards, or cannot be read, or the results cannot be
        written.
    """
    if settings.plan.kind == "states" and settings.plan.goal_size:
        raise ConfigError(
            "config.plan: expected kind = 'actions' or goal_size = 0 here "
            "(experiments.maze_table runs plans of states to a goal), found kind = "
            f"'states' and goal_size = {settings.plan.goal_size}"
        )
    check_writable(*(workdir / name for name in (*_FILES, "evaluation/any.npz")))
    if is_first_process():
        trainings.prepare_dataset(settings, workdir)
    wait_for_all("dataset")
    settings = trainings.prepare_dataset(settings, workdir)
    settings, dataset = load_resolved(settings)
    require_rewards(dataset, "the pipeline's reward model")
    check_environment(settings.environment, dimensions(settings, dataset))
    entries = _entries_of(settings)
    names = trainings.in_order(trainings_of(entries.values(), settings))
    trainings.train_all(names, settings, dataset, workdir, allow_config_change)
    if not is_first_process():
        return None  # One process evaluates.
    return _report(settings, dataset, workdir, entries, "ctd_uniform" in names)


def _entries_of(settings: Settings) -> dict[str, Entry]:
    """Label -> planner of the report; the last one is RACTD."""
    entries = {"teacher": Entry("teacher", 1.0), "CTD": Entry("ctd", 1.0)}
    if settings.dataset.weighting != "uniform":
        entries = {
            "teacher, all windows": Entry("teacher_uniform", 1.0),
            "CTD, all windows": Entry("ctd_uniform", 1.0),
            **entries,
        }
    temperature = settings.evaluation.temperature
    if temperature != 1.0:
        entries[f"CTD, temperature {temperature:g}"] = Entry("ctd")
    return entries | {"RACTD": Entry("ractd")}


def _time_all(settings: Settings, loaded: dict, workdir: Path) -> dict:
    """Label -> batch-1 latency, with the teacher on its whole grid beside it.

    At batch 1 the process is kept on one core, as a control loop would run it; the
    student and the whole teacher are timed on all cores, and at batch 100, too.
    """
    steps = settings.diffusion.num_scales - 1
    full = ractd_jax.load_planner(workdir / "teacher", num_steps=steps)
    timed = {}
    with one_core():
        for label in ("teacher", "CTD", "RACTD"):
            timed[label] = plan_latency(loaded[label], 500)
        timed["full_teacher"] = plan_latency(full, 50)
    timed["RACTD_all_cores"] = plan_latency(loaded["RACTD"], 500)
    timed["full_teacher_all_cores"] = plan_latency(full, 50)
    timed["RACTD_batch_100"] = plan_latency(loaded["RACTD"], 20, 100)
    timed["full_teacher_batch_100"] = plan_latency(full, 3, 100)
    return timed


def _speed_text(latency: dict, steps: int) -> str:
    """One-step plans against the teacher's whole grid, in the same run."""
    lines = []
    for batch, suffix in (
        ("batch 1 on one core", ""),
        ("batch 1 on all cores", "_all_cores"),
        ("batch 100 on all cores", "_batch_100"),
    ):
        student = 1e3 * latency[f"RACTD{suffix}"]["p50"]
        teacher = 1e3 * latency[f"full_teacher{suffix}"]["p50"]
        lines.append(
            f"{batch}: one-step plan {student:.2f} ms, {steps}-step teacher "
            f"{teacher:.1f} ms, {teacher / student:.0f}x."
        )
    return "\n".join(lines)


def _report(
    settings: Settings,
    dataset: OfflineDataset,
    workdir: Path,
    entries: dict[str, Entry],
    compare_uniform: bool,
) -> str:
    """Evaluates and times the entries, and writes the report."""
    loaded = {label: load_entry(entry, workdir) for label, entry in entries.items()}
    results = {
        label: evaluate_entry(label, entry, loaded[label], settings, workdir)
        for label, entry in entries.items()
    }
    report = build_report(
        dataset.episodes.returns,
        results,
        {label: planner.nfe for label, planner in loaded.items()},
        _time_all(settings, loaded, workdir),
        settings.environment,
    )
    report["fidelity"] = {"CTD": measure_fidelity(settings, dataset, workdir)}
    if compare_uniform:
        report["fidelity"]["CTD, all windows"] = measure_fidelity(
            settings, dataset, workdir, "ctd_uniform", "teacher_uniform"
        )
    report["versions"] = json.loads((workdir / "ractd/environment.json").read_text())
    write_json(workdir / "report.json", report)
    return _write_report(workdir, settings, report, dataset.episodes.returns, results)


def _write_report(workdir: Path, settings: Settings, report, returns, results) -> str:
    """report.md, report.html and the pictures in both; the text."""
    environment, data = settings.environment, report["dataset"]
    before = (
        f"{settings.task}, {data['episodes']} episodes of data, mean score "
        f"{data['score_mean']:.1f}, {100 * data['upper_mode_share']:.0f}% in the upper "
        f"mode; {environment.id}, scores by {environment.score_source}"
    )
    after = [
        explain_report(report, settings.evaluation.temperature),
        _speed_text(report["latency"], settings.diffusion.num_scales - 1),
    ]
    pictures = [workdir / "returns.png", workdir / "curves.png"]
    draw_returns(
        pictures[0], returns, results, environment, report["upper_mode_return"]
    )
    metrics = {
        stage: list(map(json.loads, (workdir / stage / "metrics.jsonl").open()))
        for stage in ("teacher", "reward", "ctd", "ractd")
    }
    draw_curves(pictures[1], metrics)
    if draw_events(workdir / "events.png", results):
        pictures.append(workdir / "events.png")
    found = [rows(report) for rows in (table_rows, fidelity_rows, event_rows)]
    table, *others = [format_table(rows) for rows in found if rows]
    text = "\n\n".join([before, table, *after, *others]) + "\n"
    images = "".join(f"\n![{path.stem}]({path.name})\n" for path in pictures)
    write_text(workdir / "report.md", text + images)
    page = format_html(settings.task, before, report, after, pictures)
    write_text(workdir / "report.html", page)
    return text
