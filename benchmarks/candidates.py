"""What it costs to choose among plans: one step with N candidates, and 20 steps.

  python -m benchmarks.candidates --preset=kitchen_partial:states

Batch 1 on one core, random weights of the preset's networks and sizes of the kitchen,
from numpy to numpy. The planners of 20 steps have the same network and reward models:
DDIM (20 evaluations, as Lu et al. 2025 plan) and Heun (40).
"""

from __future__ import annotations

import json

from absl import app, flags

from benchmarks.common import made_up_dataset, planner_of
from benchmarks.latency import latency_of
from ractd_jax import presets
from ractd_jax.evaluation.latency import one_core
from ractd_jax.files import write_json
from ractd_jax.machine import commit, machine
from ractd_jax.settings import from_mapping

# (label, stage, steps, candidates)
PLANNERS = (
    ("1 step, 1 candidate", "student", 1, 1),
    ("1 step, 16 candidates", "student", 1, 16),
    ("1 step, 64 candidates", "student", 1, 64),
    ("DDIM, 20 steps, 1 candidate", "ddpm", 20, 1),
    ("DDIM, 20 steps, 50 candidates", "ddpm", 20, 50),
    ("Heun, 20 steps, 1 candidate", "teacher", 20, 1),
    ("Heun, 20 steps, 50 candidates", "teacher", 20, 50),
)


def candidate_rows(settings, dataset, calls: int) -> dict:
    """Label -> statistics of calls at batch 1."""
    rows = {}
    with one_core():
        for label, stage, steps, candidates in PLANNERS:
            planner = planner_of(settings, dataset, stage, steps, candidates)
            count = max(10, calls // (steps * candidates))
            rows[label] = latency_of(planner, 1, count)
    return rows


def main(_):
    settings = from_mapping(presets.get_config(FLAGS.preset).to_dict())
    settings = from_mapping({"diffusion": {"sigma_data": 0.5}}, settings)
    dataset = made_up_dataset(observation=30, action=9)
    rows = candidate_rows(settings, dataset, FLAGS.calls)
    slow = rows["DDIM, 20 steps, 50 candidates"]["p50_ms"]
    ratios = {
        label: slow / row["p50_ms"]
        for label, row in rows.items()
        if label.startswith("1 step")
    }
    found = {"machine": machine(), "commit": commit(), "preset": FLAGS.preset}
    found |= {"latency": rows, "times_faster_than_ddim_of_50": ratios}
    print(json.dumps(found, indent=2))
    if FLAGS.output:
        write_json(FLAGS.output, found)


FLAGS = flags.FLAGS

if __name__ == "__main__":
    flags.DEFINE_string("preset", "kitchen_partial:states", "Preset of the networks.")
    flags.DEFINE_integer("calls", 10_000, "Timed calls of one plan.", lower_bound=10)
    flags.DEFINE_string("output", None, "JSON file to write.")
    app.run(main)
