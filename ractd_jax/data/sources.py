"""From settings to checked episodes, their normalisers and their environment."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from absl import logging

from ractd_jax.data.agreement import compare_environment
from ractd_jax.data.changes import some_windows
from ractd_jax.data.episodes import Episodes
from ractd_jax.data.origin import Origin, with_reference
from ractd_jax.data.readers import read_source
from ractd_jax.errors import ConfigError, DataError, RactdError
from ractd_jax.inspection.logged import log_findings
from ractd_jax.normalizers import FITS, MinMaxNormalizer, Normalizer, fit_changes
from ractd_jax.settings import Environment, Settings
from ractd_jax.tasks import task_of

_UNKNOWN = Origin()
_NO_ENVIRONMENT = "none"
RAW_SCORES = "none: scores are raw returns"


@dataclasses.dataclass(frozen=True)
class OfflineDataset:
    """Episodes with the normalisers fitted to them.

    Attributes:
      name: its name in errors and metadata.
      episodes: the episodes, in environment units.
      observation_normalizer: fitted to the observations.
      action_normalizer: fitted to the actions.
      origin: the environment and reference returns that the data names.
    """

    name: str
    episodes: Episodes
    observation_normalizer: Normalizer
    action_normalizer: MinMaxNormalizer
    origin: Origin = _UNKNOWN

    @property
    def normalizers(self) -> dict[str, Normalizer]:
        """Both, by the fields that they were fitted to."""
        return {
            "observations": self.observation_normalizer,
            "actions": self.action_normalizer,
        }


def load_dataset(settings: Settings) -> OfflineDataset:
    """The dataset that `settings.dataset` names; see :func:`load_resolved`."""
    return load_resolved(settings)[1]


def _read(settings: Settings) -> OfflineDataset:
    options = settings.dataset
    of_states = settings.plan.kind != "actions" and not settings.plan.relative
    if options.observation_normalizer == "zscore" and of_states:
        raise ConfigError(
            "config.dataset.observation_normalizer: expected 'minmax' or 'robust' with "
            f"config.plan.kind = {settings.plan.kind!r}, whose plans lie in [-1, 1] "
            "(unless config.plan.relative), found 'zscore'"
        )
    name, episodes, origin = read_source(options, _flatten_rule(settings))
    normalizers = options.observation_normalizer, options.action_normalizer
    return make_dataset(name, episodes, origin, *normalizers)


def _flatten_rule(settings: Settings) -> str:
    """Plans to a goal have goals of their own, so the data's goals are left out."""
    rule, plan = settings.environment.flatten, settings.plan
    without_goal = {"auto": "observation", "maze_goal": "maze"}
    has_goal = plan.kind == "states" and plan.goal_size > 0
    return without_goal.get(rule, rule) if has_goal else rule


def make_dataset(
    name: str,
    episodes: Episodes,
    origin: Origin = _UNKNOWN,
    observation_normalizer: str = "minmax",
    action_normalizer: str = "minmax",
) -> OfflineDataset:
    """`episodes` with normalisers fitted to them."""
    return OfflineDataset(
        name,
        episodes,
        FITS[observation_normalizer](episodes.observations),
        FITS[action_normalizer](episodes.actions),
        origin,
    )


def require_rewards(dataset: OfflineDataset, learner: str) -> None:
    """Raises DataError for data without rewards, which `learner` would learn from."""
    if not dataset.origin.has_rewards:
        raise DataError(
            dataset.name,
            field="rewards",
            expected=f"rewards, as {learner} learns from them",
            found="nothing",
        )


def learner_of_returns(settings: Settings) -> str:
    """The setting that takes plans by their returns, in words; empty for none."""
    if settings.dataset.weighting != "uniform":
        weighting = settings.dataset.weighting
        return f"config.dataset.weighting = {weighting!r} (unlike 'uniform')"
    return "config.plan.return_condition" if settings.plan.return_condition else ""


def resolve_environment(settings: Settings, dataset: OfflineDataset) -> Settings:
    """`settings` with what they leave to the dataset filled in from it."""
    given, origin = settings.environment, dataset.origin
    keys, found = origin.observation_keys, given
    reference = task_of(given.id).reference(given.id)
    if reference is not None and reference.replaces:
        origin = with_reference(Origin(given.id))
    if given.id == _NO_ENVIRONMENT:
        found = dataclasses.replace(found, id="", spec="")
    elif not given.id:
        found = dataclasses.replace(
            found, id=origin.environment_id, spec=origin.environment_spec
        )
    if given.score_max is None:
        known = origin.score_max is not None
        found = dataclasses.replace(
            found,
            score_min=origin.score_min if known else 0.0,
            # 100 (R - 0) / (100 - 0) is R itself.
            score_max=origin.score_max if known else 100.0,
            score_source=origin.score_source if known else RAW_SCORES,
        )
    elif not given.score_source:
        found = dataclasses.replace(found, score_source="the configuration")
    read = dataclasses.replace(settings.dataset, observation_keys=keys)
    return dataclasses.replace(settings, environment=found, dataset=read)


def resolve_sigma_data(settings: Settings, dataset: OfflineDataset) -> Settings:
    """`settings` with sigma_data measured, where it is None.

    sigma_data is the root mean square of the normalised numbers that plans consist of,
    so that the preconditioned network has inputs and outputs of unit size.
    """
    if settings.diffusion.sigma_data is not None:
        return settings
    episodes, kind = dataset.episodes, settings.plan.kind
    parts = []
    if kind == "states" and settings.plan.relative:
        normalizer = dataset.observation_normalizer
        windows = some_windows(episodes, normalizer, settings.plan)
        parts.append(fit_changes(windows).encode(windows))
    elif kind != "actions":
        parts.append(dataset.observation_normalizer.normalize(episodes.observations))
    if kind != "states":
        parts.append(dataset.action_normalizer.normalize(episodes.actions))
    total = sum(np.sum(np.square(part), dtype=np.float64) for part in parts)
    square = total / sum(part.size for part in parts)
    # Data that never varies still needs a scale.
    sigma_data = round(max(math.sqrt(square), 0.01), 4)
    noise = dataclasses.replace(settings.diffusion, sigma_data=sigma_data)
    return dataclasses.replace(settings, diffusion=noise)


def changed_environment(
    environment: Environment, environment_id: str | None, limit: int | None = None
) -> Environment:
    """`environment` by another id or with another time limit, where they are given.

    Its references stay, unless the id has its own.
    """
    found = environment
    if environment_id:
        found = dataclasses.replace(
            found, id=environment_id, spec="", max_episode_steps=None
        )
        reference = task_of(environment_id).reference(environment_id)
        if reference is not None and reference.replaces:
            found = dataclasses.replace(
                found,
                score_min=reference.low,
                score_max=reference.high,
                score_source=reference.source,
            )
    if limit:
        found = dataclasses.replace(found, max_episode_steps=limit)
    return found


def load_resolved(
    settings: Settings, inspecting: bool = False
) -> tuple[Settings, OfflineDataset]:
    """The dataset, and the settings completed with what they leave to it.

    Args:
      settings: that name it.
      inspecting: whether it is only looked at: an environment that does not fit is a
        warning then, and what may spoil a training (`log_findings`) is left to
        the inspection.

    Raises:
      ConfigError: the data is not named, or `compare_environment` refuses it.
      DataError: the data is missing or unusable, or is not what the environment pays.
    """
    dataset = _read(settings)
    settings = resolve_sigma_data(settings, dataset)
    settings = resolve_environment(settings, dataset)
    environment, bounds = settings.environment, dataset.origin.action_bounds
    try:
        environment, bounds = compare_environment(
            environment,
            dataset.episodes,
            dataset.origin,
            dataset.name,
            goal_size=settings.plan.goal_size if settings.plan.kind == "states" else 0,
        )
    except RactdError as error:
        if not inspecting:
            raise
        logging.warning("no training would begin: %s", error)
    if not inspecting:
        data = dataset.name, dataset.episodes, dataset.normalizers
        log_findings(*data, environment.id, bounds)
    origin = dataset.origin._replace(action_bounds=bounds)
    settings = dataclasses.replace(settings, environment=environment)
    return settings, dataclasses.replace(dataset, origin=origin)
