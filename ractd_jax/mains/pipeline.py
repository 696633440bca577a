"""All of it: dataset, teacher, reward models, CTD, RACTD, evaluation, report.

  python -m experiments.pipeline --config=configs/hopper_medium_expert.py \
      --workdir=runs/demo

Trains a teacher and CTD on all windows, too, where the config chooses some, so that
the report shows what the choice does. Restartable: what is finished is not run again,
what was cut off goes on from its newest checkpoint. Ends with report.md, .html and
.json and their pictures in the workdir, and what was warned of, once more.
"""

from pathlib import Path

from absl import flags

from ractd_jax.mains import launch
from ractd_jax.pipelines.report import run_pipeline
from ractd_jax.training.progress import collected_warnings

FLAGS = flags.FLAGS


def main():
    workdir, settings = Path(FLAGS.workdir), launch.settings_from_flags()
    with collected_warnings() as warned:
        text = run_pipeline(settings, workdir, FLAGS.allow_config_change)
    if text is None:
        return
    print(f"\n{text}\nWritten to {workdir}: report.md, .html, .json and 2 pictures")
    if warned:
        print("\n".join(["\nWarnings:", *(f"* {text}" for text in warned)]))


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    launch.define_config_flags()
    launch.define_training_flags()
    launch.run(main)
