"""Statistics over training seeds: tables, numbers and pictures of finished sweeps.

  python -m experiments.aggregate --results=runs/sweep --by=reward_weight \
      --baseline=0 --output=docs/results/sweep

Reads results.jsonl and returns.npz of each folder and writes OUTPUT.md, OUTPUT.tex,
OUTPUT.json, OUTPUT_profiles.png, OUTPUT_intervals.png and OUTPUT_training.png. What the
numbers mean: docs/statistics.md.
"""

import shlex
import sys

from absl import flags

from ractd_jax.mains import flag_kinds, launch
from ractd_jax.reports.comparison import write_comparison

FLAGS = flags.FLAGS


def main():
    command = shlex.join(["python", "-m", "experiments.aggregate", *sys.argv[1:]])
    print(
        write_comparison(FLAGS.results, FLAGS.output, FLAGS.by, FLAGS.baseline, command)
    )


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flag_kinds.define_paths(
        "results", None, "Folders of sweeps, with commas.", required=True
    )
    flags.DEFINE_list(
        "by", [], "Parameters that make a group, with commas; all without."
    )
    flag_kinds.define_path(
        "output", None, "Files to write, without suffix.", required=True
    )
    flags.DEFINE_string(
        "baseline", None, "Group to compare the others with: its values, with commas."
    )
    launch.run(main)
