"""Writes a teacher or student as one file that runs without this repository's stack.

  python -m experiments.export --checkpoint=runs/student --output=policy.zip

``ractd_jax.load_policy`` runs it with jax, numpy and flatbuffers: docs/deploy.md.
"""

import json
import os

from absl import flags

import ractd_jax
from ractd_jax.files import check_writable
from ractd_jax.mains import flag_kinds, launch
from ractd_jax.planning.export import (
    describe_checkpoint,
    export_planner,
    largest_difference,
)
from ractd_jax.policy import STORAGES

FLAGS = flags.FLAGS


def main():
    check_writable(FLAGS.output)
    planner = ractd_jax.load_planner(
        FLAGS.checkpoint,
        num_steps=FLAGS.num_steps,
        weights=FLAGS.weights,
        temperature=FLAGS.temperature,
    )
    about = {"weights": FLAGS.weights, **describe_checkpoint(FLAGS.checkpoint)}
    metadata = export_planner(planner, FLAGS.output, about, FLAGS.storage)
    policy = ractd_jax.load_policy(FLAGS.output)
    summary = {name: metadata[name] for name in ("task", "stage", "num_steps", "nfe")}
    summary["temperature"] = metadata["temperature"]
    summary["bytes"] = os.path.getsize(FLAGS.output)
    summary["largest_difference_from_planner"] = largest_difference(planner, policy)
    print(json.dumps(summary, indent=2))


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flag_kinds.define_path(
        "checkpoint", None, "Workdir of a planner's training.", required=True
    )
    flag_kinds.define_path("output", None, "File to write.", required=True)
    flags.DEFINE_integer(
        "num_steps", None, "Heun steps of a teacher or jumps of a student."
    )
    flags.DEFINE_enum("weights", "ema", ["ema", "raw"], "Which weights to export.")
    flags.DEFINE_float(
        "temperature",
        None,
        "Scale of the noise that plans start from, if not the checkpoint's.",
        lower_bound=0.0,
    )
    flags.DEFINE_enum(
        "storage",
        "float32",
        STORAGES,
        "Of the weights in the file; half precision is compressed, too.",
    )
    launch.run(main)
