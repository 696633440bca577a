"""Exports planners of finished benchmark cells as the package's own, with their cards.

  python -m experiments.benchmark --workdir=runs/rewards --table=baselines ...
  python -m experiments.ship_policies --workdir=runs/rewards \
      --results=docs/results/baselines --output=ractd_jax/policies

Ships each task's RACTD of training seed 0, whatever it scored, in bfloat16. The card
says what it scored, and the mean over all training seeds; README.md beside the files
lists them.
"""

import sys
from pathlib import Path

from absl import flags

from ractd_jax.mains import flag_kinds, launch
from ractd_jax.pipelines.shipping import ship_policies

FLAGS = flags.FLAGS


def main():
    folders = FLAGS.workdir, FLAGS.results, FLAGS.output
    sys.stdout.write(ship_policies(*map(Path, folders), FLAGS.tasks))


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flag_kinds.define_path("workdir", None, "Of the benchmark.", required=True)
    flag_kinds.define_path("results", None, "Its finished cells.", required=True)
    flag_kinds.define_path("output", None, "Folder of the files.", required=True)
    flags.DEFINE_list("tasks", [], "Tasks, with commas; all that are finished without.")
    launch.run(main)
