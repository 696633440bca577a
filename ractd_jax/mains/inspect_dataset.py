"""A look at a dataset before anything is trained on it.

  python -m experiments.inspect_dataset --config=configs/hopper_medium_expert.py \
      --config.dataset.source=d4rl --config.dataset.path=FILE.hdf5

Prints the report and writes it as DIR/inspection.md, .json and .png, where DIR is
--output. Takes the dataset, the horizon and the reference returns from the config.
What it finds odd is a line of the report, never an error; trainings log those lines
that matter to them.
"""

from pathlib import Path

from absl import flags

from ractd_jax.data.sources import load_resolved
from ractd_jax.inspection.dataset import inspect_dataset, write_inspection
from ractd_jax.mains import flag_kinds, launch

FLAGS = flags.FLAGS

_BOUND = "bound of every action dimension, if not the environment's."


def main():
    settings, dataset = load_resolved(launch.settings_from_flags(), inspecting=True)
    folder = Path(FLAGS.output or Path(FLAGS.workdir or "runs") / "inspection")
    bounds = FLAGS.action_low, FLAGS.action_high
    report = inspect_dataset(settings, dataset, *bounds, FLAGS.time_limit)
    print(report.text)
    write_inspection(folder, report, settings, dataset)
    print(f"\nwritten: {folder}/inspection.md, .json and .png")


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    launch.define_config_flags(required=["config"])
    flag_kinds.define_path(
        "output",
        None,
        "Folder of the results; default: inspection in --workdir or runs.",
    )
    flags.DEFINE_float("action_low", None, f"Lower {_BOUND}")
    flags.DEFINE_float("action_high", None, f"Upper {_BOUND}")
    flags.DEFINE_integer(
        "time_limit", None, "Steps, if not the environment's.", lower_bound=1
    )
    launch.run(main)
