"""Samplers, controllers and replanning on maze2d, as in Duan (2025), table B.6.

  python -m experiments.maze_table --maze=umaze,medium,large --workdir=runs/maze \
      --output=docs/results/maze_table

For each maze: records the dataset, trains the DDPM model, the EDM teacher, the reward
model, the inverse dynamics, CTD and RACTD, evaluates them from the same random starts,
and times them. Restartable: what is finished is not run again.
"""

from pathlib import Path

from absl import flags, logging

from ractd_jax.files import check_writable, with_ending, write_json, write_text
from ractd_jax.mains import flag_kinds, launch
from ractd_jax.networks.conditioning import CONDITIONINGS
from ractd_jax.pipelines.maze import run_maze
from ractd_jax.presets import mazes
from ractd_jax.reports.maze_report import format_tables
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.tasks.point_maze import MAZES

FLAGS = flags.FLAGS


def settings_of(maze: str) -> Settings:
    """Those of a maze, by the flags."""
    changes = {}
    if FLAGS.num_episodes:
        changes["evaluation"] = {"num_episodes": FLAGS.num_episodes}
    if FLAGS.root:
        changes["dataset"] = {"root": FLAGS.root}
    config = mazes.get_maze2d(maze, FLAGS.preset, FLAGS.recording)
    return from_mapping(changes, from_mapping(config.to_dict()))


def main():
    output = Path(FLAGS.output or Path(FLAGS.workdir) / "maze_table")
    files = [with_ending(output, ending) for ending in (".json", ".md")]
    check_writable(*files)
    results: dict[str, dict] = {}
    for maze in FLAGS.maze:
        logging.info("maze %s", maze)
        folder = Path(FLAGS.workdir) / maze
        options = FLAGS.conditionings, FLAGS.train_only
        results[maze] = run_maze(settings_of(maze), folder, *options)
    if FLAGS.train_only:
        return
    write_json(files[0], results)
    text = format_tables(results)
    write_text(files[1], text)
    print(text)


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flags.DEFINE_list("maze", list(MAZES), "Mazes, with commas.")
    flag_kinds.define_path("workdir", None, "Folder for everything.", required=True)
    flags.DEFINE_string("preset", "cpu", "Preset of configs/maze2d_*.py.")
    flags.DEFINE_enum(
        "recording", "", mazes.RECORDINGS, "d4rl: data as D4RL's driver records it."
    )
    flag_kinds.define_path("output", None, "Where the tables go, without the suffix.")
    flag_kinds.define_path("root", None, "Minari root, if the datasets are recorded.")
    flags.DEFINE_integer(
        "num_episodes", None, "Starts, if not the preset's.", lower_bound=1
    )
    flags.DEFINE_multi_enum(
        "conditionings",
        [],
        CONDITIONINGS,
        "Values of plan.conditioning to train a teacher and a student with besides.",
    )
    flags.DEFINE_bool("train_only", False, "Stop after the training.")
    flags.register_validator(
        "maze",
        lambda mazes: mazes and set(mazes) <= set(MAZES),
        f"expected some of {', '.join(MAZES)}",
    )
    launch.run(main)
