"""Everything of one maze: dataset, trainings, evaluations, times."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import ractd_jax
from ractd_jax.data.sources import load_resolved
from ractd_jax.evaluation.latency import one_core, plan_latency
from ractd_jax.evaluation.results import save_results, save_state_results
from ractd_jax.files import check_writable, with_ending, write_json
from ractd_jax.pipelines.evaluations import (
    evaluate_states,
    results_name,
    results_path,
    usual_evaluation,
)
from ractd_jax.pipelines.maze_controller import evaluate_controller
from ractd_jax.pipelines.maze_entries import MazeEntry, additions, samplers
from ractd_jax.pipelines.trainings import prepare_dataset, train_all
from ractd_jax.planning import Planner, load_inverse_dynamics
from ractd_jax.reports.statistics import summarize
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.tasks import task_of
from ractd_jax.tasks.environments import check_environment
from ractd_jax.training.loop import train
from ractd_jax.training.stages import dimensions, make_stage, student_stage

_DIFFUSER_STEPS = 256


def run_maze(
    settings: Settings,
    workdir: Path,
    conditionings: Sequence[str] = (),
    train_only: bool = False,
) -> dict:
    """Trains, times and evaluates everything of one maze, or finds it done.

    Args:
      settings: of the maze's config.
      workdir: of this maze.
      conditionings: values of plan.conditioning to train a teacher and a student with
        besides.
      train_only: whether to stop after the trainings.

    Returns:
      The maze's results, for :func:`maze_report.format_tables`; none of `train_only`.
    """
    check_writable(workdir / "training.json", workdir / "evaluation" / "any.json")
    settings = prepare_dataset(settings, workdir)
    settings, dataset = load_resolved(settings)
    dims = dimensions(settings, dataset)
    check_environment(settings.environment, dims)
    report = workdir / "training.json"
    seconds = _train_maze(settings, dataset, workdir, conditionings)
    if not report.exists():
        write_json(report, seconds)
    if train_only:
        return {}
    entries = samplers(settings)
    timed = workdir / "latency.json"
    if not timed.exists():
        write_json(timed, _time_plans(settings, workdir, entries))
    latency = json.loads(timed.read_text())
    rows = {}
    for entry in entries:
        row = _evaluate_entry(entry, settings, workdir)
        row["seconds_per_plan"] = latency[f"{entry.model}_{entry.steps}"]
        rows[entry.label] = row
    rows["the recording's controller"] = _evaluate_behaviour(settings, workdir)
    steps = settings.diffusion.num_scales - 1
    return {
        "samplers": rows,
        "additions": {
            entry.label: _evaluate_entry(entry, settings, workdir)
            for entry in additions(settings, conditionings)
        },
        "latency": {
            "ractd": latency["ractd_1"],
            "teacher": latency[f"teacher_{steps}"],
            "ddpm_256": latency["ddpm_256"],
        },
        "training": json.loads(report.read_text()),
        "versions": json.loads((workdir / "ractd/environment.json").read_text()),
    }


def _train_maze(
    settings: Settings, dataset, workdir: Path, conditionings: Sequence[str]
) -> dict[str, float]:
    """Trains everything, or finds it trained; seconds of what was run."""

    def run(stage, name):
        train(stage, settings.run, settings.seed, workdir / name)

    start = time.perf_counter()
    names = ("teacher", "reward", "ctd", "ractd")
    train_all(names, settings, dataset, workdir)
    for name in ("ddpm", "inverse_dynamics"):
        run(make_stage(name, settings, dataset), name)
    for name in conditionings:
        other = from_mapping({"plan": {"conditioning": name}}, settings)
        teacher = workdir / f"teacher_{name}"
        run(make_stage("teacher", other, dataset), teacher.name)
        student = student_stage(other, dataset, teacher, workdir / "reward")
        run(student, f"ractd_{name}")
    return {"train_seconds": time.perf_counter() - start}


def _evaluate_entry(entry: MazeEntry, settings: Settings, workdir: Path) -> dict:
    """The row of an entry; evaluated unless that is done."""
    planner = ractd_jax.load_planner(
        workdir / entry.model,
        num_steps=entry.steps or None,
        num_candidates=entry.candidates,
        reward=workdir / "reward",
    )
    model = None
    if entry.controller.kind == "inverse_dynamics":
        model = load_inverse_dynamics(workdir / "inverse_dynamics")
    options = settings.evaluation
    evaluation = usual_evaluation(
        planner,
        settings.environment,
        num_episodes=options.num_episodes,
        seed=options.seed,
        noise=options.noise,
        controller=entry.controller,
        inverse_dynamics=model,
    )
    path = results_path(planner, evaluation, workdir / "evaluation")
    raw, path = with_ending(path, ".npz"), with_ending(path, ".json")
    if path.exists():
        return json.loads(path.read_text())
    check_writable(raw, path)
    found = evaluate_states(planner, evaluation, f"{workdir.name}: {entry.label}")
    save_state_results(raw, found)
    row = summarize(found.episodes, settings.environment) | {
        "nfe": planner.nfe,
        "reached_share": float(found.reached.mean()),
        "collided_share": float(found.collided.mean()),
        "plans": len(found.collided),
        "entry": entry.to_dict(),
    }
    write_json(path, row)
    return row


def _evaluate_behaviour(settings: Settings, workdir: Path) -> dict:
    """The row of the recording's own controller."""
    options, task = settings.evaluation, task_of(settings.environment.id)
    asked = options.num_episodes, options.seed
    found = evaluate_controller(settings.task, settings.environment, *asked)
    about = {"environment": settings.environment.id, "seed": options.seed}
    about |= {"num_episodes": options.num_episodes, "task": settings.task}
    parts = f"behaviour_{options.num_episodes}episodes_seed{options.seed}"
    save_results(workdir / "evaluation" / f"{results_name([parts], about)}.npz", found)
    return summarize(found, settings.environment) | {
        "nfe": 0,
        "reached_share": float(task.success(found.returns).mean()),
        "collided_share": None,
        "seconds_per_plan": None,
    }


def _time_plans(settings: Settings, workdir: Path, entries) -> dict[str, float]:
    """Median seconds of a batch-1 plan on one core, by model and steps."""

    def load(entry):
        return ractd_jax.load_planner(
            workdir / entry.model, num_steps=entry.steps or None
        )

    found = {}
    with one_core():
        for entry in entries:
            planner = load(entry)
            calls = 300 if planner.nfe < 20 else 20
            found[f"{entry.model}_{entry.steps}"] = plan_latency(planner, calls)["p50"]
        ddpm = load(entries[0])
        diffuser = from_mapping(
            {"ddpm": {"num_timesteps": _DIFFUSER_STEPS}}, ddpm.settings
        )
        # Untrained for as many steps, which its time does not depend on.
        ddpm = Planner(
            diffuser,
            ddpm.dims,
            "ddpm",
            ddpm.params,
            ddpm.observation_normalizer,
            ddpm.action_normalizer,
            _DIFFUSER_STEPS,
        )
        found["ddpm_256"] = plan_latency(ddpm, 20)["p50"]
    return found
