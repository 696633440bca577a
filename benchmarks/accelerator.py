"""Paper-size training and sampling on an accelerator, against its own limits.

  python -m benchmarks.accelerator --output=docs/results/accelerator.json

Training steps against the rate of a large matrix product, plans at batch 1 against the
rate at which the device reads its memory, both measured in the same run, in bfloat16.
``--small`` runs the same code at a size for a CPU, to see that it works.
"""

from __future__ import annotations

import json
import tempfile
import time
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
from benchmarks.training import (
    STUDENT_EVALUATIONS,
    TEACHER_EVALUATIONS,
    student_stage,
)
from ractd_jax.evaluation.latency import plan_seconds
from ractd_jax.files import write_json
from ractd_jax.machine import machine
from ractd_jax.methods import EdmTeacher
from ractd_jax.training import stages

FLAGS = flags.FLAGS


def matmul_rate(size: int, dtype: str) -> float:
    """Floating-point operations per second of [size, size] products."""
    a = jnp.ones((size, size), dtype)
    product = jax.jit(lambda a: a @ a)
    seconds = np.median(seconds_of(lambda: product(a), 20))
    return 2 * size**3 / float(seconds)


def read_rate(size: int) -> float:
    """Bytes per second of reading `size` float32 numbers once."""
    x = jnp.ones(size, jnp.float32)
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
    return float(forward.lower(params, x, level, cond).cost_analysis()["flops"])


def training_rows(dataset, widths, batch_size: int, calls: int, folder: Path) -> dict:
    """Steps a second, and the share of the matrix units' peak, by form and role."""
    peak = matmul_rate(FLAGS.matmul, FLAGS.dtype)
    rows = {"matmul_flops_per_s": peak}
    for conv in ("lax", "matmul"):
        settings = settings_for(widths, batch_size, conv=conv, dtype=FLAGS.dtype)
        dims = stages.dimensions(settings, dataset)
        flops = forward_flops(settings, dims) * batch_size
        built = {
            "teacher": (
                stages.plan_stage("teacher", settings, dataset),
                TEACHER_EVALUATIONS,
            ),
            "student": (
                student_stage(settings, dataset, folder / conv),
                STUDENT_EVALUATIONS,
            ),
        }
        for role, (stage, evaluations) in built.items():
            seconds = step_seconds(stage, calls)
            rows[f"{role}, {conv}"] = {
                "steps_per_s": 1 / seconds,
                "utilisation": evaluations * flops / seconds / peak,
            }
    return rows


def sampling_rows(dataset, widths, calls: int) -> dict:
    """Latencies at batch 1 and throughput, by form and number of steps."""
    rate = read_rate(FLAGS.read)
    rows = {"read_GB_per_s": rate / 1e9}
    for conv in ("lax", "matmul"):
        options = {"conv": conv, "dtype": FLAGS.dtype}
        for steps in (1, 2, 3, 4):
            planner = random_planner(widths, dataset, "student", steps, **options)
            weights = sum(leaf.nbytes for leaf in jax.tree.leaves(planner.weights))
            seconds = float(np.median(plan_seconds(planner, calls)))
            rows[f"student, {steps} steps, {conv}"] = {
                "batch_1_ms": 1e3 * seconds,
                "times_floor": seconds * rate / weights,
                "batch_1000_plans_per_s": 1_000
                / float(np.median(plan_seconds(planner, 5, 1_000))),
            }
        planner = random_planner(widths, dataset, "teacher", 79, **options)
        seconds = float(np.median(plan_seconds(planner, max(calls // 20, 3))))
        one = rows[f"student, 1 steps, {conv}"]["batch_1_ms"]
        rows[f"teacher, 79 steps, {conv}"] = {
            "batch_1_ms": 1e3 * seconds,
            "times_one_step": 1e3 * seconds / one,
        }
    return rows


def main(_):
    begin = time.perf_counter()
    dataset = made_up_dataset()
    widths, batch = (SMALL, 32) if FLAGS.small else (PAPER, FLAGS.batch_size)
    found = {"machine": machine(), "dtype": FLAGS.dtype, "batch_size": batch}
    if jax.default_backend() == "cpu":
        found["note"] = "no accelerator: a check of the script, not a result"
    with tempfile.TemporaryDirectory() as folder:
        found["training"] = training_rows(
            dataset, widths, batch, FLAGS.step_calls, Path(folder)
        )
    found["sampling"] = sampling_rows(dataset, widths, FLAGS.calls)
    found["seconds"] = time.perf_counter() - begin
    print(json.dumps(found, indent=2))
    if FLAGS.output:
        write_json(FLAGS.output, found)


if __name__ == "__main__":
    flags.DEFINE_string("output", None, "JSON file to write.")
    flags.DEFINE_string("dtype", "bfloat16", "Of the activations.")
    flags.DEFINE_integer("batch_size", 1_024, "Plans per step.")
    flags.DEFINE_integer("calls", 200, "Timed plans at batch 1.", lower_bound=5)
    flags.DEFINE_integer("step_calls", 5, "Timed calls of ten steps.", lower_bound=1)
    flags.DEFINE_integer("matmul", 8_192, "Rows of the product that sets the peak.")
    flags.DEFINE_integer("read", 2**28, "Numbers to read for the memory's rate.")
    flags.DEFINE_bool("small", False, "A size for a CPU.")
    app.run(main)
