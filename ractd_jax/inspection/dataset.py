"""The inspection of a configured dataset, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ractd_jax.data.sources import RAW_SCORES, OfflineDataset, learner_of_returns
from ractd_jax.data.weighting import choose_windows, describe_windows
from ractd_jax.data.windows import index_windows
from ractd_jax.errors import ConfigError
from ractd_jax.files import write_json, write_text
from ractd_jax.inspection.episodes import inspect_episodes
from ractd_jax.inspection.logged import GUESS
from ractd_jax.inspection.logged import time_limit as environment_limit
from ractd_jax.inspection.report import draw_inspection, format_inspection
from ractd_jax.settings import Settings
from ractd_jax.tasks import task_of


class DatasetReport(NamedTuple):
    """What was found in a dataset.

    Attributes:
      text: in Markdown.
      about: the same as JSON-able numbers.
      references: ``score_min`` and ``score_max`` of the scores; None for raw ones.
    """

    text: str
    about: dict[str, Any]
    references: dict[str, float | None]


def inspect_dataset(
    settings: Settings,
    dataset: OfflineDataset,
    action_low: float | None = None,
    action_high: float | None = None,
    time_limit: int | None = None,
) -> DatasetReport:
    """The inspection of a dataset, and which windows a training learns from.

    Args:
      settings: with the environment resolved.
      dataset: of these settings.
      action_low: lower bound of every action dimension, if not the environment's.
      action_high: upper bound of every action dimension, if not the environment's.
      time_limit: steps, if not the environment's.
    """
    environment = settings.environment
    references = {
        "score_min": environment.score_min,
        "score_max": environment.score_max,
    }
    if environment.score_source == RAW_SCORES:
        references = {"score_min": None, "score_max": None}
    known = dataset.origin.action_bounds
    low, high = known if known.low else GUESS
    found = inspect_episodes(
        dataset.episodes,
        settings.plan.horizon,
        name=dataset.name,
        normalizers=dataset.normalizers,
        **references,
        action_low=low if action_low is None else action_low,
        action_high=high if action_high is None else action_high,
        assumed_bounds=not known.low and None in (action_low, action_high),
        limit=time_limit or environment_limit(environment.id),
    )
    learner = learner_of_returns(settings)
    if learner and not dataset.origin.has_rewards:
        windows = None
        training = f"none: {learner} needs rewards, and the data holds none"
    else:
        windows = _training_windows(settings, dataset)
        training = describe_windows(windows)
    text = f"{format_inspection(found)}\n\nTraining: {training}."
    about = found.to_dict() | {"training_windows": windows}
    return DatasetReport(text, about, references)


def write_inspection(
    folder: Path, report: DatasetReport, settings: Settings, dataset: OfflineDataset
) -> None:
    """Writes inspection.md, .json and .png.

    Raises:
      ConfigError: `folder` cannot be written in.
    """
    try:
        write_json(folder / "inspection.json", report.about)
        write_text(folder / "inspection.md", report.text + "\n")
        draw_inspection(
            folder / "inspection.png",
            dataset.episodes,
            title=dataset.name,
            **report.references,
            **_maze_of(settings.environment.id),
        )
    except OSError as error:
        raise ConfigError(
            f"--output={folder}: expected a folder to write in, found {error}"
        ) from None


def _maze_of(environment_id: str) -> dict:
    """``walls`` and ``extent`` of a maze environment; nothing of others."""
    found = task_of(environment_id).maze(environment_id)
    if found is None:
        return {}
    # Pictures have the largest y at the top.
    walls = found.walls if found.scale[1] < 0 else found.walls[::-1]
    return {"walls": walls, "extent": found.extent}


def _training_windows(settings: Settings, dataset: OfflineDataset) -> dict:
    """Which windows a training with these settings learns from."""
    plan = settings.plan
    episodes = dataset.episodes
    index = index_windows(episodes, plan.horizon, plan.padding, dataset.name)
    return choose_windows(index, episodes, settings.dataset, dataset.name).summary
