"""Paper-size training and sampling on an accelerator, against its own limits.

  python -m benchmarks.accelerator --output=docs/results/accelerator

Training steps against the rate of a large matrix product, plans at batch 1 against the
rate at which the device reads its memory, both measured in the same process, in
bfloat16; and a grid of 24 students as one program against one of them alone.

Compiling takes most of the minutes, so every figure is written as it is measured:
OUTPUT/SECTION.json, and OUTPUT/table.md of all sections that are there. ``--sections``
runs some of them; ``--small`` runs the same code at a size for a CPU, to see that it
works.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks.common import (
    PAPER,
    SMALL,
    made_up_dataset,
    random_planner,
    seconds_of,
    settings_for,
    step_seconds,
)
from benchmarks.short_plans import cpu_preset
from benchmarks.training import (
    STUDENT_EVALUATIONS,
    TEACHER_EVALUATIONS,
    student_stage,
)
from ractd_jax.compilation_cache import use_compilation_cache
from ractd_jax.evaluation.latency import plan_seconds
from ractd_jax.files import write_json, write_text
from ractd_jax.machine import commit, machine
from ractd_jax.methods import EdmTeacher
from ractd_jax.settings import from_mapping
from ractd_jax.tables import markdown_table
from ractd_jax.training import parallel, stages
from ractd_jax.training.grid import Grid
from ractd_jax.training.loop import init_fn, make_sample_fn
from ractd_jax.training.state import make_optimizer
from ractd_jax.training.sweep import stacked_values

FLAGS = flags.FLAGS

# (name of a row, its figures)
Rows = Iterator[tuple[str, dict[str, float]]]
_STEPS_PER_CALL = 10
_SEEDS, _WEIGHTS = 4, (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def matmul_rate(size: int, dtype: str) -> float:
    """Floating-point operations per second of [size, size] products.

    Of random numbers: products of equal ones take less power, and run faster.
    """
    a = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(lambda a: a @ a)
    seconds = np.median(seconds_of(lambda: product(a), 20))
    return 2 * size**3 / float(seconds)


def read_rate(size: int) -> float:
    """Bytes per second of reading `size` float32 numbers once."""
    x = jax.random.normal(jax.random.key(0), (size,))
    largest = jax.jit(jnp.max)
    return 4 * size / float(np.median(seconds_of(lambda: largest(x), 20)))


def forward_flops(settings, dims) -> float:
    """Operations of one evaluation on one plan, as XLA counts them of lax.conv."""
    with_lax = settings_for(settings.network.widths, conv="lax")
    teacher = EdmTeacher.from_settings(with_lax, dims)
    x = jax.ShapeDtypeStruct((1, *dims.plan_shape), jnp.float32)
    level = jax.ShapeDtypeStruct((1,), jnp.float32)
    cond = jax.ShapeDtypeStruct((1, dims.condition), jnp.float32)
    params = jax.eval_shape(teacher.init, jax.random.key(0))
    network = teacher.network
    forward = jax.jit(lambda p, x, c, y: network.apply({"params": p}, x, c, y))
    with jax.default_device(jax.devices("cpu")[0]):  # Only a CPU's lowering counts.
        lowered = forward.lower(params, x, level, cond)
    return float(lowered.cost_analysis()["flops"])


def training_rows(dataset, widths, folder: Path) -> Rows:
    """Steps a second, and the share of the matrix units' rate, by stage and form."""
    peak = matmul_rate(FLAGS.matmul, FLAGS.dtype)
    yield f"product of {FLAGS.matmul} x {FLAGS.matmul}", {"tflop_per_s": peak / 1e12}
    for conv in FLAGS.convs:
        settings = settings_for(widths, FLAGS.batch_size, conv=conv, dtype=FLAGS.dtype)
        dims = stages.dimensions(settings, dataset)
        flops = forward_flops(settings, dims) * FLAGS.batch_size
        built = {
            "teacher": (
                lambda s=settings: stages.plan_stage("teacher", s, dataset),
                TEACHER_EVALUATIONS,
            ),
            "student": (
                lambda s=settings, c=conv: student_stage(s, dataset, folder / c),
                STUDENT_EVALUATIONS,
            ),
        }
        for name, (make_stage, evaluations) in built.items():
            seconds = step_seconds(make_stage(), FLAGS.step_calls)
            yield (
                f"{name}, {conv}, batch {FLAGS.batch_size}",
                {
                    "steps_per_s": 1 / seconds,
                    "tflop_per_s": evaluations * flops / seconds / 1e12,
                    "utilisation": evaluations * flops / seconds / peak,
                },
            )


def sampling_rows(dataset, widths, folder: Path) -> Rows:
    """Latencies at batch 1 and throughput, by form and number of steps."""
    del folder
    rate = read_rate(FLAGS.read)
    yield "reading memory", {"GB_per_s": rate / 1e9}

    def plan_row(stage, steps, conv, calls):
        planner = random_planner(
            widths, dataset, stage, steps, conv=conv, dtype=FLAGS.dtype
        )
        # Levels share their kernels.
        leaves = {id(leaf): leaf for leaf in jax.tree.leaves(planner.weights)}
        floor = sum(leaf.nbytes for leaf in leaves.values()) / rate
        seconds = np.quantile(plan_seconds(planner, calls), (0.5, 0.99))
        row = {"batch_1_ms": 1e3 * seconds[0], "batch_1_p99_ms": 1e3 * seconds[1]}
        row |= {"floor_ms": 1e3 * floor, "times_floor": seconds[0] / floor / steps}
        return planner, row

    for conv in FLAGS.convs:
        planner, one = plan_row("student", 1, conv, FLAGS.calls)
        yield f"student, 1 step, {conv}", one
        for batch in (100, 1_000):
            seconds = float(np.median(plan_seconds(planner, 10, batch)))
            yield (
                f"student, 1 step, {conv}, batch {batch}",
                {
                    "plan_ms": 1e3 * seconds,
                    "plans_per_s": batch / seconds,
                },
            )
        _, row = plan_row("teacher", 79, conv, max(FLAGS.calls // 20, 3))
        del row["times_floor"]  # A Heun step is two evaluations.
        row["times_one_step"] = row["batch_1_ms"] / one["batch_1_ms"]
        yield f"teacher, 79 steps, {conv}", row
        for steps in (2, 3, 4):
            _, row = plan_row("student", steps, conv, FLAGS.calls)
            yield f"student, {steps} steps, {conv}", row


def sweep_rows(dataset, widths, folder: Path) -> Rows:
    """A step of 24 CTD students in one program against a step of one of them.

    Of the `cpu` presets' residual MLP, and of the U-Net of SMALL widths.
    """
    del widths
    mlp, zscored = cpu_preset(dataset)
    mlp = from_mapping({"student": {"reward_weight": 0.0}}, mlp)
    unet = settings_for(SMALL, 64, conv="lax")
    grid = Grid(range(_SEEDS), [{"ctm_weight": weight} for weight in _WEIGHTS])
    for name, options, data in (("mlp", mlp, zscored), ("unet", unet, dataset)):
        stage = student_stage(options, data, folder / name)
        alone = step_seconds(stage, FLAGS.step_calls)
        together = float(
            np.median(seconds_of(_members_call(stage, grid), FLAGS.step_calls))
            / _STEPS_PER_CALL
        )
        yield (
            f"{name}, {len(grid.members)} students",
            {
                "step_alone_ms": 1e3 * alone,
                "step_together_ms": 1e3 * together,
                "times_faster": len(grid.members) * alone / together,
            },
        )


def _members_call(stage, grid: Grid):
    """A call that makes ten steps of every member, as a sweep makes them."""
    call = parallel.make_members_call(
        steps_per_call=_STEPS_PER_CALL,
        num_devices=1,
        sample_fn=make_sample_fn(stage),
        make_optimizer_fn=lambda rate: make_optimizer(
            stage.optimizer, stage.num_steps, rate
        ),
        method=stage.method,
        batch_size=stage.batch_size,
        settings=stage.optimizer,
        target_decay=stage.target_decay or 0.0,
    )
    shape = 1, len(grid.seeds), len(grid.values)
    first = jax.jit(init_fn(stage, 0, make_optimizer(stage.optimizer, 1)))()
    states = jax.tree.map(lambda x: jnp.broadcast_to(x, (*shape, *x.shape)), first)
    held = {"states": parallel.split_over_devices(states, 1)}
    seeds = parallel.split_over_devices(np.array([grid.seeds], np.int32), 1)
    shared = parallel.replicate(
        (stacked_values(stage, grid), np.int32(0), stage.frozen, stage.data), 1
    )

    def run():
        held["states"], infos = call(held["states"], seeds, *shared)
        return infos

    return run


SECTIONS = {
    "training": training_rows,
    "sampling": sampling_rows,
    "sweep": sweep_rows,
}


def format_table(output: Path) -> str:
    """Every section of a folder as Markdown, with what it was measured on."""
    lines = ["# On an accelerator", ""]
    for name in SECTIONS:
        path = output / f"{name}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text())
        about = found["machine"]
        lines += [
            f"## {name.capitalize()}",
            "",
            f"{', '.join(about['kinds'])}; JAX {about['jax']}; activations in "
            f"{found['dtype']}; commit {found['commit']}; {found['seconds']:.0f} s.",
            *([f"({found['note']})"] if "note" in found else []),
            "",
            markdown_table(("", "figures"), map(_shown, found["rows"].items())),
            "",
        ]
    return "\n".join(lines)


def _shown(item: tuple[str, dict[str, float]]) -> tuple[str, str]:
    """The two cells of a row."""
    row, figures = item
    return row, ", ".join(f"{key} {value:.4g}" for key, value in figures.items())


def run_section(name: str, dataset, widths, output: Path) -> None:
    """One section, written anew after each of its rows."""
    begin = time.perf_counter()
    about = {
        **machine(),
        "kinds": sorted({device.device_kind for device in jax.devices()}),
    }
    found = {"machine": about, "commit": commit(), "dtype": FLAGS.dtype, "rows": {}}
    if jax.default_backend() == "cpu":
        found["note"] = "no accelerator: a check of the script, not a result"
    with tempfile.TemporaryDirectory() as folder:
        for row, figures in SECTIONS[name](dataset, widths, Path(folder)):
            found["rows"][row] = {key: float(value) for key, value in figures.items()}
            found["seconds"] = time.perf_counter() - begin
            print(f"{found['seconds']:6.1f} s  {row}: {found['rows'][row]}", flush=True)
            write_json(output / f"{name}.json", found)
            write_text(output / "table.md", format_table(output))


def main(_):
    use_compilation_cache()
    widths = SMALL if FLAGS.small else PAPER
    output = Path(FLAGS.output)
    output.mkdir(parents=True, exist_ok=True)
    for name in FLAGS.sections:
        run_section(name, made_up_dataset(), widths, output)


if __name__ == "__main__":
    flags.DEFINE_string("output", None, "Folder of the figures.", required=True)
    flags.DEFINE_multi_enum(
        "sections", list(SECTIONS), list(SECTIONS), "What to measure."
    )
    flags.DEFINE_list("convs", ["matmul", "lax"], "Forms of the convolution.")
    flags.DEFINE_string("dtype", "bfloat16", "Of the activations.")
    flags.DEFINE_integer("batch_size", 1_024, "Plans per step.")
    flags.DEFINE_integer("calls", 200, "Timed plans at batch 1.", lower_bound=5)
    flags.DEFINE_integer("step_calls", 5, "Timed calls of ten steps.", lower_bound=1)
    flags.DEFINE_integer("matmul", 8_192, "Rows of the product that sets the peak.")
    flags.DEFINE_integer("read", 2**28, "Numbers to read for the memory's rate.")
    flags.DEFINE_bool("small", False, "A size for a CPU.")
    app.run(main)
