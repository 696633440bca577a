"""The definition of a stage, and what the stages on plans share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from absl import logging

from ractd_jax.data.changes import plan_changes
from ractd_jax.data.combinations import seen_rows
from ractd_jax.data.episodes import Episodes, return_ranks, split_at_goals
from ractd_jax.data.sources import OfflineDataset, learner_of_returns, require_rewards
from ractd_jax.data.weighting import choose_windows, describe_windows
from ractd_jax.data.windows import WindowIndex, index_windows
from ractd_jax.errors import ConfigError
from ractd_jax.methods import Method
from ractd_jax.settings import Optimizer, Settings, to_dict, with_absolute_paths
from ractd_jax.storage.checkpoint import StoredModel
from ractd_jax.storage.state import TrainState
from ractd_jax.storage.trained import load_rating, load_stage_model, reference
from ractd_jax.tasks import task_of
from ractd_jax.training.parallel import Part
from ractd_jax.training.stages.gathering import (
    Gather,
    PlanData,
    arrives,
    make_gather,
    rows_per_window,
)
from ractd_jax.training.stages.plan_sizes import dimensions

_BLOCK = 16_384
# (state, name of the training, for warnings) -> scalars.
Probe = Callable[[TrainState, str], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Stage:
    """One training.

    A batch is ``gather(data, rows)`` for rows drawn uniformly from ``num_rows``, by the
    compiled step from arrays on the device, or on the host when streaming.

    Attributes:
      name: ``teacher``, ``ddpm``, ``bc``, ``reward``, ``student`` or
        ``inverse_dynamics``.
      num_steps: optimiser steps.
      batch_size: items per step over all devices.
      optimizer: its settings.
      method: its initial parameters, draws and loss.
      frozen: parameters that the loss reads and does not train.
      data: arrays that batches are gathered from.
      num_rows: items in the data.
      gather: (data, rows) -> batch, of numpy and of JAX arrays alike.
      metadata: JSON-able, saved with every checkpoint.
      draws_per_item: independent rows for each item, on a leading axis; 0 for one
        row without that axis.
      mixes_rows: whether an item of a batch is made of other rows than its own too.
      streaming: gather on the host.
      first_params: () -> parameters at step 0; None for the method's own.
      target_decay: decay of the target network; None for no target network.
      probe: gives extra scalars at each log line.
    """

    name: str
    num_steps: int
    batch_size: int
    optimizer: Optimizer
    method: Method
    frozen: Any
    data: Any
    num_rows: int
    gather: Gather
    metadata: dict
    draws_per_item: int = 0
    mixes_rows: bool = False
    streaming: bool = False
    first_params: Callable[[], Any] | None = None
    target_decay: float | None = None
    probe: Probe | None = None

    def init_params(self, key: jax.Array) -> Any:
        """Parameters at step 0."""
        return self.first_params() if self.first_params else self.method.init(key)

    def rows_shape(self, batch_size: int) -> tuple[int, ...]:
        """Shape of the rows of a batch."""
        lead = (self.draws_per_item,) if self.draws_per_item else ()
        return (*lead, batch_size)


def gather_part(stage: Stage, data: Any, rows: Any, part: Part) -> Any:
    """A part of the global batch of `rows`, from numpy or JAX arrays."""
    axis = 1 if stage.draws_per_item else 0
    if not stage.mixes_rows:
        return stage.gather(data, part.of(rows, axis))
    return jax.tree.map(lambda leaf: part.of(leaf, axis), stage.gather(data, rows))


def base_metadata(stage: str, settings: Settings, dataset: OfflineDataset) -> dict:
    """Metadata that every checkpoint has."""
    normalizers = {
        "observations": dataset.observation_normalizer,
        "actions": dataset.action_normalizer,
    }
    changes = plan_changes(
        dataset.episodes, dataset.observation_normalizer, settings.plan
    )
    if changes is not None:
        normalizers["changes"] = changes
    return {
        "stage": stage,
        "settings": to_dict(with_absolute_paths(settings)),
        "dimensions": dataclasses.asdict(dimensions(settings, dataset)),
        "normalizers": {name: each.to_dict() for name, each in normalizers.items()},
        "action_bounds": dataset.origin.action_bounds._asdict(),
        "dataset": {
            "name": dataset.name,
            "transitions": dataset.episodes.num_transitions,
            "episodes": dataset.episodes.num_episodes,
            "sha256": dataset.episodes.sha256,
        },
    }


def require_one_hot(dataset: OfflineDataset, learner: str) -> None:
    """Raises ConfigError for data whose actions `learner` cannot tell apart."""
    actions = dataset.episodes.actions
    if not ((np.abs(actions) == 1.0).all() and ((actions > 0).sum(axis=1) == 1).all()):
        raise ConfigError(
            f"{dataset.name}: expected discrete actions, as one-hot vectors of -1 and "
            f"1, for {learner}, found others"
        )


def window_episodes(settings: Settings, dataset: OfflineDataset) -> Episodes:
    """The episodes that windows lie within, split at goals if the settings say so.

    Raises:
      DataError: ``plan.split_at_goals`` is set and the data has no goals.
    """
    if settings.plan.split_at_goals:
        return split_at_goals(dataset.episodes, dataset.name)
    return dataset.episodes


def plan_data(
    settings: Settings, dataset: OfflineDataset
) -> tuple[PlanData, dict[str, Any]]:
    """The dataset's own arrays, without a copy, with the chosen windows.

    Returns:
      The arrays, and the summary of :func:`choose_windows`, with ``critic``, whose
      advantages they are weighted by.

    Raises:
      DataError: windows are chosen by returns, and the data has no rewards.
    """
    if learner := learner_of_returns(settings):
        require_rewards(dataset, learner)
    episodes = window_episodes(settings, dataset)
    plan = settings.plan
    index = index_windows(episodes, plan.horizon, plan.padding, dataset.name)
    options, advantages, about = settings.dataset, None, {}
    if options.critic and options.weighting in ("advantage", "both"):
        advantages, critic = critic_advantages(settings, dataset)
        about = {"critic": reference(critic)}
    chosen = choose_windows(index, episodes, options, dataset.name, advantages)
    ranks = return_ranks(episodes) if plan.return_condition else None
    index, lags = chosen.index, None
    if options.held_out_combinations:
        index, lags = _seen_rows(settings, episodes, index)
        about |= {
            "held_out_combinations": options.held_out_combinations,
            "rows": len(lags),
        }
    data = dataset.episodes
    found = PlanData(data.observations, data.actions, index, ranks, lags)
    return found, chosen.summary | about


def _seen_rows(settings: Settings, episodes: Episodes, index: WindowIndex):
    """:func:`seen_rows` of the environment's maze.

    Raises:
      ConfigError: the environment is no maze, or plans have no goal to arrive at.
    """
    environment, plan = settings.environment.id, settings.plan
    maze = task_of(environment).maze(environment)
    if maze is None or not arrives(plan):
        raise ConfigError(
            "config.dataset.held_out_combinations: expected 0, or plans of states in a "
            "maze (config.plan.goal = 'arrival'), found "
            f"{settings.dataset.held_out_combinations} with {environment}"
        )
    every = settings.dataset.held_out_combinations
    return seen_rows(index, episodes, maze, every, plan.horizon, plan.stride)


def critic_advantages(
    settings: Settings, dataset: OfflineDataset
) -> tuple[np.ndarray, StoredModel]:
    """[N] A(s, a) of the data's actions, less their mean, and whose they are.

    The critic is that of ``dataset.critic``.

    Raises:
      CheckpointError: no critic of this data is there.
    """
    metadata = base_metadata("critic", settings, dataset)
    directory = settings.dataset.critic
    load_stage_model(directory, "critic", settings)
    critic, params, stored = load_rating(directory, settings, metadata, None)
    rate, episodes = jax.jit(critic.advantages), dataset.episodes
    blocks = [
        rate(
            params,
            dataset.observation_normalizer.normalize(episodes.observations[block]),
            dataset.action_normalizer.normalize(episodes.actions[block]),
        )
        for begin in range(0, episodes.num_transitions, _BLOCK)
        for block in [slice(begin, begin + _BLOCK)]
    ]
    advantages = np.concatenate(blocks)
    return advantages - advantages.mean(), stored


def plan_sampling(
    name: str, settings: Settings, dataset: OfflineDataset
) -> tuple[dict[str, Any], dict[str, Any]]:
    """How a stage draws plans.

    Args:
      name: the stage's name, for the log.
      settings: settings of the training.
      dataset: the dataset to draw from.

    Returns:
      The fields of :class:`Stage` about sampling, and the summary of the windows for
      its metadata.
    """
    data, windows = plan_data(settings, dataset)
    logging.info("%s: %s", name, describe_windows(windows))
    num_rows = len(data.index.start)
    if data.lags is None:
        num_rows *= rows_per_window(settings.plan)
    if num_rows > np.iinfo(np.int32).max:
        raise ConfigError(
            f"config.plan.horizon: expected at most 2^31 pairs of a window and a "
            f"lag, found {num_rows}; take fewer transitions or plan.goal=last"
        )
    fields = {
        "data": data,
        "num_rows": num_rows,
        "gather": make_gather(dimensions(settings, dataset), dataset, settings.plan),
        "streaming": settings.dataset.streaming,
    }
    return fields, windows
