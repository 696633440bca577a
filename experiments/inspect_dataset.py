"""A look at a dataset before anything is trained on it.

  python -m experiments.inspect_dataset --config=configs/hopper_medium_expert.py \
      --config.dataset.source=d4rl --config.dataset.path=FILE.hdf5

Prints the report and writes it as DIR/inspection.md, .json and .png, where DIR is
--output. Takes the dataset, the horizon and the reference returns from the config.
What it finds odd is a warning in the report, never an error.
"""

from pathlib import Path

import gymnasium
from absl import flags

from experiments import launch
from ractd_jax.data.inspection import inspect_episodes
from ractd_jax.data.inspection_report import draw_inspection, format_inspection
from ractd_jax.data.sources import RAW_SCORES, load_resolved
from ractd_jax.data.weighting import choose_windows, describe_windows
from ractd_jax.data.windows import index_windows
from ractd_jax.errors import ConfigError
from ractd_jax.files import write_json
from ractd_jax.tasks.maze_map import maze_map
from ractd_jax.tasks.point_maze import maze_of_environment

FLAGS = flags.FLAGS


def time_limit(environment_id: str) -> int | None:
    """Steps of the environment's time limit, where Gymnasium knows it."""
    spec = gymnasium.registry.get(environment_id)
    return spec.max_episode_steps if spec else None


def maze_of(environment_id: str) -> dict:
    """``walls`` and ``extent`` of a maze environment; nothing of others."""
    name = maze_of_environment(environment_id)
    if not name:
        return {}
    found = maze_map(name)
    return {"walls": found.walls, "extent": found.extent}


def training_windows(settings, dataset) -> dict:
    """Which windows a training with this config learns from."""
    plan = settings.plan
    episodes = dataset.episodes
    index = index_windows(episodes, plan.horizon, plan.padding, dataset.name)
    return choose_windows(index, episodes, settings.dataset, dataset.name).summary


def main():
    settings, dataset = load_resolved(launch.settings_from_flags())
    environment = settings.environment
    references = {
        "score_min": environment.score_min,
        "score_max": environment.score_max,
    }
    if environment.score_source == RAW_SCORES:
        references = {"score_min": None, "score_max": None}
    found = inspect_episodes(
        dataset.episodes,
        settings.plan.horizon,
        name=dataset.name,
        **references,
        action_low=FLAGS.action_low,
        action_high=FLAGS.action_high,
        limit=FLAGS.time_limit or time_limit(environment.id),
    )
    windows = training_windows(settings, dataset)
    report = f"{format_inspection(found)}\n\nTraining: {describe_windows(windows)}."
    print(report)
    folder = Path(FLAGS.output or Path(FLAGS.workdir or "runs") / "inspection")
    try:
        about = found.to_dict() | {"training_windows": windows}
        write_json(folder / "inspection.json", about)
        (folder / "inspection.md").write_text(report + "\n")
        draw_inspection(
            folder / "inspection.png",
            dataset.episodes,
            title=dataset.name,
            **references,
            **maze_of(environment.id),
        )
    except OSError as error:
        raise ConfigError(
            f"--output={folder}: expected a folder to write in, found {error}"
        ) from None
    print(f"\nwritten: {folder}/inspection.md, .json and .png")


if __name__ == "__main__":
    launch.define_config_flags(required=["config"])
    flags.DEFINE_string(
        "output",
        None,
        "Folder of the results; default: inspection in --workdir or runs.",
    )
    flags.DEFINE_float("action_low", -1.0, "Lower bound of every action dimension.")
    flags.DEFINE_float("action_high", 1.0, "Upper bound of every action dimension.")
    flags.DEFINE_integer(
        "time_limit", None, "Steps, if not the environment's.", lower_bound=1
    )
    launch.run(main)
