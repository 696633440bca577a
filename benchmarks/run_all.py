"""Every speed figure of this repository, in one run: `make bench`.

  python -m benchmarks.run_all --output=docs/results/bench

Writes OUTPUT.json and prints one table. PyTorch's columns need
``pip install torch==2.13.0``; without it they are left out, and said to be.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from absl import flags, logging

import ractd_jax
from benchmarks import (
    evaluation,
    latency,
    precision,
    sampling,
    short_plans,
    training,
)
from benchmarks.common import (
    MEDIUM,
    PAPER,
    SMALL,
    made_up_dataset,
    random_planner,
    settings_for,
)
from ractd_jax.files import write_json
from ractd_jax.machine import machine
from ractd_jax.mains import launch
from ractd_jax.tables import markdown_table
from ractd_jax.training.loop import train

FLAGS = flags.FLAGS


def small_student(dataset, folder: Path) -> Path:
    """Workdir of a student of the cpu preset's size that has made a step."""
    settings = training.few_steps(settings_for(SMALL, 16), "student")
    stage = training.student_stage(settings, dataset, folder / "teacher")
    train(stage, settings.run, 0, folder / "student")
    return folder / "student"


def format_table(found: dict) -> str:
    """Markdown: one row for each figure."""
    rows = []

    def add(what, values):
        shown = ", ".join(
            f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in values.items()
        )
        rows.append((what, shown))

    for section in ("sampling", "precision", "training", "short_plans", "latency"):
        loose = {}
        for what, values in found.get(section, {}).items():
            if isinstance(values, dict):
                add(f"{section}, {what}", values)
            else:
                loose[what] = values
        if loose:
            add(section, loose)
    if "first_action" in found:
        add("first action of a fresh process", found["first_action"])
    if "evaluation" in found:
        add("evaluation, 100 Hopper episodes", found["evaluation"])
    add("machine", found["machine"])
    return markdown_table(("what", "figure"), rows) + "\n"


def _sampling(dataset, folder, cores):
    return sampling.sampling_rows(dataset, cores, FLAGS.calls // 5, FLAGS.paper)


def _precision(dataset, folder, cores):
    return {
        f"{list(widths)}, {variant}": row
        for widths in ((SMALL, MEDIUM, PAPER) if FLAGS.paper else (SMALL, MEDIUM))
        for variant, row in precision.precision_rows(
            random_planner(widths, dataset),
            (1,) if widths == PAPER else (1, 100),
            FLAGS.calls // (50 if widths == PAPER else 5),
        ).items()
    }


def _training(dataset, folder, cores):
    return training.training_rows(dataset, folder, FLAGS.step_calls)


def _short_plans(dataset, folder, cores):
    return short_plans.short_plan_rows(
        dataset, folder / "short_plans", FLAGS.calls, FLAGS.step_calls
    )


def _latency(dataset, folder, cores):
    return latency.latency_rows(dataset, FLAGS.calls)


def _first_action(dataset, folder, cores):
    student = small_student(dataset, folder / "small")
    return latency.first_action_seconds(student, folder / "cache")


def _evaluation(dataset, folder, cores):
    planner = (
        ractd_jax.load_planner(FLAGS.checkpoint)
        if FLAGS.checkpoint
        else random_planner(SMALL, dataset)
    )
    return evaluation.evaluation_rows(planner, "Hopper-v5", 100)


_MEASURES = {
    "sampling": _sampling,
    "precision": _precision,
    "training": _training,
    "short_plans": _short_plans,
    "latency": _latency,
    "first_action": _first_action,
    "evaluation": _evaluation,
}


def main():
    dataset = made_up_dataset()
    about = machine()
    if about["torch"] is None:
        logging.warning("torch is not installed: PyTorch's columns are left out")
    found = {"machine": about}
    with tempfile.TemporaryDirectory() as folder:
        for name in FLAGS.sections:
            logging.info(name)
            found[name] = _MEASURES[name](dataset, Path(folder), about["cores"])
    text = format_table(found)
    if FLAGS.output:
        write_json(Path(FLAGS.output).with_suffix(".json"), found)
        Path(FLAGS.output).with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    flags.DEFINE_string("output", None, "Where .json and .md go, without the suffix.")
    flags.DEFINE_string(
        "checkpoint", None, "Student to evaluate on Hopper; else random weights."
    )
    flags.DEFINE_multi_enum(
        "sections", list(_MEASURES), list(_MEASURES), "What to measure."
    )
    flags.DEFINE_integer("calls", 5_000, "Timed plans at batch 1.", lower_bound=50)
    flags.DEFINE_integer("step_calls", 5, "Timed calls of ten steps.", lower_bound=1)
    flags.DEFINE_bool(
        "paper", True, "Also plans at Duan et al.'s widths (3 GB of memory)."
    )
    launch.run(main)
