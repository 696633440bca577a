"""All of it: dataset, teacher, reward models, CTD, RACTD, evaluation, report.

  python -m experiments.pipeline --config=configs/hopper_medium_expert.py \
      --workdir=runs/demo

Restartable: what is finished is not run again, what was cut off goes on from its
newest checkpoint. Ends with report.md, .html and .json and their pictures in the
workdir.
"""

import dataclasses
import json
from pathlib import Path

from absl import flags, logging

import ractd_jax
from experiments import launch
from experiments.evaluate import evaluate_with_progress
from ractd_jax.data.generate import dataset_id, generate_dataset
from ractd_jax.data.minari_store import has_minari
from ractd_jax.data.sources import load_resolved
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.environments import check_environment
from ractd_jax.evaluation.latency import one_core, plan_latency
from ractd_jax.evaluation.report import (
    build_report,
    draw_curves,
    draw_returns,
    format_html,
    format_table,
)
from ractd_jax.evaluation.rollout import load_results, save_results
from ractd_jax.files import write_json
from ractd_jax.settings import Settings
from ractd_jax.training.loop import train
from ractd_jax.training.parallel import is_first_process, wait_for_all
from ractd_jax.training.stages import (
    dimensions,
    reward_stage,
    student_stage,
    teacher_stage,
)

FLAGS = flags.FLAGS


def prepare_dataset(settings: Settings, workdir: Path) -> Settings:
    """Records the task's dataset into the workdir when it names one of ours."""
    options = settings.dataset
    ours = options.source == "minari" and options.id.startswith("ractd/")
    if not ours or options.root:
        return settings
    if dataset_id(settings.task) != options.id:
        raise ConfigError(
            f"config.dataset.id: expected {dataset_id(settings.task)!r} for task "
            f"{settings.task!r}, found {options.id!r}"
        )
    root = str(workdir / "datasets")
    if not has_minari(options.id, root):
        logging.info("recording %d transitions", options.num_transitions)
        recorded = generate_dataset(
            settings.task, options.num_transitions, options.seed, root=root
        )
        logging.info("%s", recorded)
    return dataclasses.replace(
        settings, dataset=dataclasses.replace(options, root=root)
    )


def without_reward(settings: Settings) -> Settings:
    """The CTD ablation: the same student with a reward weight of 0."""
    student = dataclasses.replace(settings.student, reward_weight=0.0)
    return dataclasses.replace(settings, student=student)


def train_all(
    settings: Settings, dataset, workdir: Path, allow_config_change: bool = False
) -> None:
    """Trains the four networks, or finds them trained."""
    teacher, reward = workdir / "teacher", workdir / "reward"

    def run(stage, folder):
        train(stage, settings.run, settings.seed, folder, allow_config_change)

    run(teacher_stage(settings, dataset), teacher)
    run(reward_stage(settings, dataset), reward)
    ctd = without_reward(settings)
    run(student_stage(ctd, dataset, teacher, None), workdir / "ctd")
    run(student_stage(settings, dataset, teacher, reward), workdir / "ractd")


def planners(settings: Settings, workdir: Path) -> dict:
    """Label -> planner, as evaluated."""
    options = settings.evaluation
    load = ractd_jax.load_planner
    return {
        "teacher": load(workdir / "teacher", num_steps=options.teacher_steps),
        "ctd": load(workdir / "ctd", num_steps=options.student_steps),
        "ractd": load(workdir / "ractd", num_steps=options.student_steps),
    }


def evaluate_all(settings: Settings, loaded: dict, workdir: Path) -> dict:
    """Label -> raw results; each is saved before the next one runs.

    The teacher and CTD are evaluated once more with one noise for each episode: drawn
    anew at every step, it makes a planner that copies two modes switch between them.
    """
    options = settings.evaluation
    runs = [(label, label, options.noise) for label in loaded]
    if options.noise == "each_step":
        runs += [
            (f"{label}, one noise an episode", label, "each_episode")
            for label in ("teacher", "ctd")
        ]
    results = {}
    for name, label, noise in runs:
        planner = loaded[label]
        suffix = "" if noise == "each_step" else f"_noise_{noise}"
        file = f"{label}_{planner.num_steps}steps{suffix}.npz"
        path = workdir / "evaluation" / file
        if not path.exists():
            found = evaluate_with_progress(
                planner,
                settings.environment,
                options.num_episodes,
                options.seed,
                noise,
                name,
            )
            save_results(path, found)
        results[name] = load_results(path)
    return results


def time_all(settings: Settings, loaded: dict, workdir: Path) -> dict:
    """Label -> batch-1 latency, with the teacher on its whole grid beside it.

    At batch 1 the process is kept on one core, as a control loop would run it; the
    student and the whole teacher are timed on all cores, and at batch 100, too.
    """
    steps = settings.diffusion.num_scales - 1
    full = ractd_jax.load_planner(workdir / "teacher", num_steps=steps)
    with one_core():
        timed = {label: plan_latency(planner, 500) for label, planner in loaded.items()}
        timed["full_teacher"] = plan_latency(full, 50)
    timed["ractd_all_cores"] = plan_latency(loaded["ractd"], 500)
    timed["full_teacher_all_cores"] = plan_latency(full, 50)
    timed["ractd_batch_100"] = plan_latency(loaded["ractd"], 20, 100)
    timed["full_teacher_batch_100"] = plan_latency(full, 3, 100)
    return timed


def speed_text(latency: dict, steps: int) -> str:
    """One-step plans against the teacher's whole grid, in the same run."""
    lines = []
    for batch, suffix in (
        ("batch 1 on one core", ""),
        ("batch 1 on all cores", "_all_cores"),
        ("batch 100 on all cores", "_batch_100"),
    ):
        student = 1e3 * latency[f"ractd{suffix}"]["p50"]
        teacher = 1e3 * latency[f"full_teacher{suffix}"]["p50"]
        lines.append(
            f"{batch}: one-step plan {student:.2f} ms, {steps}-step teacher "
            f"{teacher:.1f} ms, {teacher / student:.0f}x."
        )
    return "\n".join(lines)


def main():
    workdir = Path(FLAGS.workdir)
    settings = launch.settings_from_flags()
    if settings.plan.kind != "actions":
        raise ConfigError(
            "config.plan.kind: expected 'actions' here (experiments.maze_table runs "
            f"plans of states), found {settings.plan.kind!r}"
        )
    if is_first_process():
        prepare_dataset(settings, workdir)
    wait_for_all("dataset")
    settings = prepare_dataset(settings, workdir)
    settings, dataset = load_resolved(settings)
    check_environment(settings.environment, dimensions(settings, dataset))
    train_all(settings, dataset, workdir, FLAGS.allow_config_change)
    if not is_first_process():
        return  # One process evaluates.
    loaded = planners(settings, workdir)
    results = evaluate_all(settings, loaded, workdir)
    latency = time_all(settings, loaded, workdir)
    returns = dataset.episodes.returns
    nfe = {name: loaded[name.split(",")[0]].nfe for name in results}
    report = build_report(returns, results, nfe, latency, settings.environment)
    report["versions"] = json.loads((workdir / "ractd/environment.json").read_text())
    write_json(workdir / "report.json", report)
    write_report(workdir, settings, report, returns, results)


def write_report(workdir: Path, settings: Settings, report, returns, results) -> None:
    """report.md, report.html and the two pictures in both."""
    environment, data = settings.environment, report["dataset"]
    before = (
        f"{settings.task}, {data['episodes']} episodes of data, mean score "
        f"{data['score_mean']:.1f}, {100 * data['upper_mode_share']:.0f}% in the upper "
        f"mode; {environment.id}, reference returns: {environment.score_source}"
    )
    after = speed_text(report["latency"], settings.diffusion.num_scales - 1)
    pictures = [workdir / "returns.png", workdir / "curves.png"]
    draw_returns(
        pictures[0], returns, results, environment, report["upper_mode_return"]
    )
    metrics = {
        stage: list(map(json.loads, (workdir / stage / "metrics.jsonl").open()))
        for stage in ("teacher", "reward", "ctd", "ractd")
    }
    draw_curves(pictures[1], metrics)
    text = f"{before}\n\n{format_table(report)}\n\n{after}\n"
    images = "".join(f"\n![{path.stem}]({path.name})\n" for path in pictures)
    (workdir / "report.md").write_text(text + images)
    page = format_html(settings.task, before, report, after, pictures)
    (workdir / "report.html").write_text(page)
    print(f"\n{text}\nWritten to {workdir}: report.md, .html, .json and 2 pictures")


if __name__ == "__main__":
    launch.define_config_flags()
    launch.define_training_flags()
    launch.run(main)
