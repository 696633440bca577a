"""Trainings on transitions: critics, and agents without a planner."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from ractd_jax.data.episodes import Episodes, return_to_go
from ractd_jax.data.ranking import rank_correlation
from ractd_jax.data.sources import OfflineDataset, require_rewards
from ractd_jax.errors import DataError
from ractd_jax.methods import PLAN_METHODS, Critic, TransitionBatch
from ractd_jax.normalizers import MinMaxNormalizer, is_spread
from ractd_jax.settings import Settings
from ractd_jax.training.stages.base import (
    Probe,
    Stage,
    base_metadata,
    require_one_hot,
)
from ractd_jax.training.stages.plan_sizes import dimensions
from ractd_jax.training.stages.reward import split_episodes

_RANKED = 8_192
_LEAST_CORRELATION = 0.1


class TransitionData(NamedTuple):
    """The dataset's arrays, in environment units, and the rows to train on.

    Attributes:
      observations: [N, O].
      actions: [N, A].
      rewards: [N], in units of the values.
      terminals: [N] bool.
      rows: [R] int32.
    """

    observations: jax.Array
    actions: jax.Array
    rewards: jax.Array
    terminals: jax.Array
    rows: jax.Array


def transition_rows(episodes: Episodes, rows: np.ndarray) -> np.ndarray:
    """Those of `rows` whose next state is known, or not needed.

    The last step of an episode that a time limit or the recording cut off is left out:
    its next state is not in the data, and is worth something.
    """
    last = np.zeros(episodes.num_transitions, bool)
    last[episodes.starts[1:] - 1] = True
    return rows[~(last & ~episodes.terminals)[rows]]


def value_scale(episodes: Episodes, discount: float) -> tuple[float, float]:
    """(mean, standard deviation) of the data's discounted returns-to-go."""
    returns = return_to_go(episodes, discount)
    mean = float(returns.mean(dtype=np.float64))
    std = float(returns.std(dtype=np.float64))
    return mean, std if is_spread(std, mean) else 1.0


class Transitions(NamedTuple):
    """How transitions are drawn, and the units of their rewards.

    Attributes:
      sampling: fields of :class:`Stage` about it.
      held_rows: [R] rows of the episodes held out.
      mean: of the discounted return-to-go, in units of the values.
      scale: a value x is a return of x scale.
    """

    sampling: dict[str, Any]
    held_rows: np.ndarray
    mean: float
    scale: float


def transitions(
    settings: Settings, dataset: OfflineDataset, discount: float, holdout: float
) -> Transitions:
    """Transitions of the episodes that are not held out.

    Raises:
      DataError: no transition has a next state, or the data has no rewards.
    """
    require_rewards(dataset, "a critic, TD3+BC or CQL")
    episodes = dataset.episodes
    mean, scale = value_scale(episodes, discount)
    rows, held_rows = split_episodes(episodes.starts, holdout, settings.dataset.seed)
    rows = transition_rows(episodes, rows)
    if not len(rows):
        raise DataError(
            dataset.name,
            expected="episodes of more than one step, or terminals, for a critic",
            found="neither",
        )
    data = TransitionData(
        episodes.observations,
        episodes.actions,
        (episodes.rewards / scale).astype(np.float32),
        episodes.terminals,
        rows,
    )
    normalize = dataset.observation_normalizer.normalize

    def gather(data: TransitionData, rows) -> TransitionBatch:
        rows = data.rows[rows]
        following = (rows + 1).clip(max=len(data.rewards) - 1)
        return TransitionBatch(
            normalize(data.observations[rows]),
            dataset.action_normalizer.normalize(data.actions[rows]),
            data.rewards[rows],
            normalize(data.observations[following]),
            data.terminals[rows],
        )

    sampling = {
        "data": data,
        "num_rows": len(rows),
        "gather": gather,
        "streaming": settings.dataset.streaming,
    }
    return Transitions(
        sampling, held_rows if len(held_rows) else rows, mean / scale, scale
    )


def critic_stage(settings: Settings, dataset: OfflineDataset) -> Stage:
    """IQL's or SARSA's values of the data's actions.

    Raises:
      ConfigError: the plans have no actions.
      DataError: no transition has a next state, or the data has no rewards.
    """
    options, dims = settings.critic, dimensions(settings, dataset)
    found = transitions(settings, dataset, options.discount, options.holdout_fraction)
    method = Critic.from_settings(settings, dims, found.mean)
    scale = np.array([found.scale], np.float32)
    return Stage(
        name="critic",
        method=method,
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        frozen={},
        target_decay=options.target_ema,
        draws_per_item=options.num_members,
        metadata={
            **base_metadata("critic", settings, dataset),
            "value_offset": found.mean,
            "return_normalizer": MinMaxNormalizer(-scale, scale).to_dict(),
        },
        probe=_ranking_probe(method, dataset, found.held_rows, options.num_steps // 2),
        **found.sampling,
    )


def agent_stage(name: str, settings: Settings, dataset: OfflineDataset) -> Stage:
    """An agent without a planner, ``td3_bc`` or ``cql``, on all episodes.

    Raises:
      ConfigError: plans of more than one action, or for cql actions that are no one-hot
        vectors.
      DataError: no transition has a next state, or the data has no rewards.
    """
    cls = PLAN_METHODS[name]
    method = cls.from_settings(settings, dimensions(settings, dataset))
    if name == "cql":
        require_one_hot(dataset, name)
    options = cls.options(settings)
    return Stage(
        name=name,
        method=method,
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        frozen={},
        target_decay=options.target_ema,
        metadata=base_metadata(name, settings, dataset),
        **transitions(settings, dataset, options.discount, 0.0).sampling,
    )


def _ranking_probe(
    method: Critic, dataset: OfflineDataset, rows: np.ndarray, warn_from: int
) -> Probe:
    """How values and advantages rank held-out actions by their return-to-go.

    Warns once, from step `warn_from` on, about values that do not.
    """
    episodes = dataset.episodes
    rows = np.random.default_rng(0).permutation(rows)[:_RANKED]
    observations = dataset.observation_normalizer.normalize(episodes.observations[rows])
    actions = dataset.action_normalizer.normalize(episodes.actions[rows])
    returns = return_to_go(episodes, method.discount)[rows]
    warned: set[str] = set()

    @jax.jit
    def rate(params):
        values = method.reward_fn(params, 0.0)(observations, actions)
        return values, method.advantages(params, observations, actions)

    def probe(state, training: str) -> dict[str, float]:
        params = jax.device_put(state.ema_params, jax.local_devices()[0])
        values, advantages = map(np.asarray, rate(params))
        correlation = rank_correlation(values, returns)
        late, poor = state.step >= warn_from, correlation < _LEAST_CORRELATION
        if late and poor and training not in warned:
            warned.add(training)
            logging.warning(
                "%s: its values rank held-out actions hardly by their return-to-go "
                "(rank correlation %.2f at step %d): do not choose by it; train it "
                "longer, or check rewards and terminals with "
                "experiments.inspect_dataset",
                training,
                correlation,
                int(state.step),
            )
        return {
            "rank/values": correlation,
            "rank/advantages": rank_correlation(advantages, returns),
        }

    return probe
