"""How long a control loop waits: numpy observation in, numpy action out.

  python -m benchmarks.latency                      # random weights, every preset size
  python -m benchmarks.latency --checkpoint=DIR     # a planner of yours

Quantiles of every call, not of their mean; the process is kept on one core, where small
plans are fastest and steadiest (``taskset -c 0`` does that for a deployment).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from absl import app, flags

import ractd_jax
from benchmarks.common import SMALL, made_up_dataset, random_planner
from ractd_jax.evaluation.latency import one_core, plan_seconds
from ractd_jax.files import write_json
from ractd_jax.machine import machine
from ractd_jax.planning import Planner

_FIRST_ACTION = """
import sys, time
start = time.perf_counter()
import numpy as np
import ractd_jax, jax
planner = ractd_jax.load_planner(sys.argv[1])
loaded = time.perf_counter()
observations = np.zeros((1, planner.dims.observation), np.float32)
np.asarray(planner.act(observations, jax.random.key(0)))
print(loaded - start, time.perf_counter() - start)
"""


def statistics(seconds: np.ndarray) -> dict[str, float]:
    """Milliseconds: quantiles, the worst call, jitter (p99 - p50), and the rate."""
    p50, p95, p99 = np.quantile(seconds, (0.5, 0.95, 0.99))
    return {
        "p50_ms": 1e3 * float(p50),
        "p95_ms": 1e3 * float(p95),
        "p99_ms": 1e3 * float(p99),
        "max_ms": 1e3 * float(seconds.max()),
        "jitter_ms": 1e3 * float(p99 - p50),
        "hz": float(1 / p50),
        "calls": len(seconds),
    }


def latency_of(planner: Planner, batch_size: int, calls: int) -> dict[str, float]:
    """Statistics of `calls` calls, and how long the warm-up took before them."""
    start = time.perf_counter()
    planner.warmup([batch_size])
    first = time.perf_counter() - start
    found = statistics(plan_seconds(planner, calls, batch_size))
    return found | {"warmup_s": first, "nfe": planner.nfe}


def latency_rows(dataset, calls: int) -> dict:
    """Students of 1, 2 and 4 steps and the teacher's 79, at batch 1 and 100."""
    rows = {}
    with one_core():
        for stage, steps in (("student", 1), ("student", 2), ("student", 4)):
            planner = random_planner(SMALL, dataset, stage, steps)
            for batch in (1, 100):
                count = calls if batch == 1 else max(calls // 10, 10)
                rows[f"{stage}, {steps} step, batch {batch}"] = latency_of(
                    planner, batch, count
                )
        teacher = random_planner(SMALL, dataset, "teacher", 79)
        for batch, share in ((1, 25), (100, 250)):
            count = max(calls // share, 5)
            rows[f"teacher, 79 steps, batch {batch}"] = latency_of(
                teacher, batch, count
            )
    one, slow = rows["student, 1 step, batch 1"], rows["teacher, 79 steps, batch 1"]
    rows["teacher_to_student_batch_1"] = slow["p50_ms"] / one["p50_ms"]
    return rows


def first_action_seconds(checkpoint: Path, cache: Path) -> dict[str, float]:
    """Seconds from a fresh process's first line to its first action.

    Args:
      checkpoint: workdir of a student.
      cache: empty folder for compiled programs; the first process fills it.
    """
    environment = dict(os.environ)
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    found = {}
    for name in ("cold_cache_s", "warm_cache_s"):
        done = subprocess.run(
            [sys.executable, "-c", _FIRST_ACTION, str(checkpoint)],
            env=environment | {"XDG_CACHE_HOME": str(cache)},
            capture_output=True,
            text=True,
            check=True,
        )
        loaded, acted = map(float, done.stdout.split()[-2:])
        found[name] = acted
        found[name.replace("_s", "_load_s")] = loaded
    return found


def main(_):
    dataset = made_up_dataset()
    if FLAGS.checkpoint:
        planner = ractd_jax.load_planner(FLAGS.checkpoint, num_steps=FLAGS.num_steps)
        with one_core():
            rows = {
                f"batch {batch}": latency_of(planner, batch, FLAGS.calls)
                for batch in FLAGS.batch_sizes
            }
    else:
        rows = latency_rows(dataset, FLAGS.calls)
    found = {"machine": machine(), "latency": rows}
    print(json.dumps(found, indent=2))
    if FLAGS.output:
        write_json(FLAGS.output, found)


FLAGS = flags.FLAGS

if __name__ == "__main__":
    flags.DEFINE_string("checkpoint", None, "A planner's workdir; else random weights.")
    flags.DEFINE_integer("num_steps", None, "Of the checkpoint's sampler.")
    flags.DEFINE_multi_integer("batch_sizes", [1], "With --checkpoint.")
    flags.DEFINE_integer("calls", 5_000, "Timed calls.", lower_bound=10)
    flags.DEFINE_string("output", None, "JSON file to write.")
    app.run(main)
