"""Films planners side by side, in episodes that begin alike.

  python -m ractd_jax film --planners=runs/demo/teacher,runs/demo/ractd --data \
      --output=film.gif

A planner is the workdir of a training, an exported policy's file or a shipped policy's
name. The environment and the data are those of the first one.
"""

from pathlib import Path

from absl import flags

import ractd_jax
from ractd_jax.data.sources import load_dataset
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation import side_by_side
from ractd_jax.evaluation.video import choose_renderer
from ractd_jax.files import check_writable
from ractd_jax.mains import flag_kinds, launch
from ractd_jax.policy import find_policy
from ractd_jax.settings import from_mapping

FLAGS = flags.FLAGS


def load(path: str):
    """(planner or policy, its settings)."""
    if not Path(path).is_dir():
        policy = ractd_jax.load_policy(find_policy(path))
        return policy, from_mapping(policy.metadata["settings"])
    planner = ractd_jax.load_planner(path, temperature=FLAGS.temperature)
    return planner, planner.settings


def main():
    choose_renderer()
    check_writable(FLAGS.output)
    loaded = [load(path) for path in FLAGS.planners]
    labels = FLAGS.labels or [f"{each.stage}, {each.nfe} NFE" for each, _ in loaded]
    if len(labels) != len(loaded):
        raise ConfigError(
            f"--labels: expected one for each of {len(loaded)} planners, found "
            f"{len(labels)}"
        )
    settings = loaded[0][1]
    shown = settings.environment, FLAGS.every, FLAGS.every * FLAGS.frames
    panels = []
    if FLAGS.data:
        episodes = load_dataset(settings).episodes
        panels.append(side_by_side.panel_of_data(episodes, "data", *shown))
    panels += [
        side_by_side.panel_of_planner(planner, label, FLAGS.seed, *shown)
        for (planner, _), label in zip(loaded, labels, strict=True)
    ]
    side_by_side.write_film(panels, FLAGS.output, FLAGS.rate, FLAGS.width)
    print(FLAGS.output)


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flags.DEFINE_list("planners", None, "Workdirs, files or names.", required=True)
    flags.DEFINE_list("labels", None, "Of the planners; stage and NFE by default.")
    flags.DEFINE_bool("data", False, "Show the data's episode of median return first.")
    flags.DEFINE_float(
        "temperature", None, "Of the planners in workdirs; None for each one's own."
    )
    flags.DEFINE_integer("frames", 100, "Of the film, at most.", lower_bound=1)
    flags.DEFINE_integer("every", 5, "Steps between two frames.", lower_bound=1)
    flags.DEFINE_float("rate", 15.0, "Frames a second.", lower_bound=0.1)
    flags.DEFINE_integer("width", 200, "Of a panel, in pixels.", lower_bound=16)
    flag_kinds.define_seed("seed", 0, "Of the episodes.")
    flag_kinds.define_path("output", None, "The GIF to write.", required=True)
    launch.run(main)
