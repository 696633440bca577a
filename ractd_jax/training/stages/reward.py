"""Stage 2: the reward models."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.data.episodes import return_to_go
from ractd_jax.data.sources import OfflineDataset, require_rewards
from ractd_jax.data.windows import WindowIndex, index_windows
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.methods import GOAL_TARGETS, RewardBatch, RewardEnsemble, whole_plan
from ractd_jax.normalizers import MinMaxNormalizer, fit_min_max
from ractd_jax.settings import Settings
from ractd_jax.tasks import task_of
from ractd_jax.training.stages.base import (
    Stage,
    base_metadata,
    window_episodes,
)
from ractd_jax.training.stages.gathering import Gather, PlanData, make_gather
from ractd_jax.training.stages.plan_sizes import dimensions

_BLOCK = 65_536
_HELD = 8_192


class RewardItems(NamedTuple):
    """The data of a reward model.

    Attributes:
      data: arrays, in environment units.
      gather: (data, rows) -> RewardBatch.
      num_train: rows to train on, from 0.
      held_out: batch of the rows of episodes that are held out.
      return_normalizer: normalizer of the targets.
    """

    data: Any
    gather: Gather
    num_train: int
    held_out: RewardBatch
    return_normalizer: MinMaxNormalizer


class PairData(NamedTuple):
    """The dataset's pairs, normalised returns-to-go, and the rows to train on."""

    observations: jax.Array
    actions: jax.Array
    targets: jax.Array
    train_rows: jax.Array


class PlanReturnData(NamedTuple):
    """Windows over the dataset's arrays, and returns-to-go of where they begin.

    Attributes:
      plans: of all windows, one for each transition.
      targets: [N] normalised.
      train_rows: [R] int32 windows to train on.
    """

    plans: PlanData
    targets: jax.Array
    train_rows: jax.Array


class GoalData(NamedTuple):
    """The dataset's states, the windows over them, and those to train on."""

    observations: jax.Array
    index: WindowIndex
    train_rows: jax.Array


def split_episodes(
    starts: np.ndarray, holdout_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(training rows, held-out rows) int32, whole episodes each.

    At least one episode trains; with a single episode nothing is held out.
    """
    num_episodes = len(starts) - 1
    order = np.random.default_rng(seed).permutation(num_episodes)
    held = np.zeros(num_episodes, bool)
    held[order[: min(round(holdout_fraction * num_episodes), num_episodes - 1)]] = True
    row_held = np.repeat(held, np.diff(starts))
    rows = np.arange(len(row_held), dtype=np.int32)
    return rows[~row_held], rows[row_held]


def returns_to_go(settings: Settings, dataset: OfflineDataset) -> RewardItems:
    """Pairs of a state and an action, with the normalised return-to-go."""
    episodes = dataset.episodes
    targets, normalizer, train_rows, held_rows = _returns(settings, dataset)
    data = PairData(episodes.observations, episodes.actions, targets, train_rows)

    def pairs(data: PairData, rows) -> RewardBatch:
        return RewardBatch(
            dataset.observation_normalizer.normalize(data.observations[rows]),
            dataset.action_normalizer.normalize(data.actions[rows]),
            data.targets[rows],
        )

    return RewardItems(
        data,
        lambda data, rows: pairs(data, data.train_rows[rows]),
        len(train_rows),
        pairs(data, held_rows[:_BLOCK]),
        normalizer,
    )


def plan_returns(settings: Settings, dataset: OfflineDataset) -> RewardItems:
    """Whole plans and the state that they begin in, with the return from there on."""
    targets, normalizer, train_rows, held_rows = _returns(settings, dataset)
    episodes, plan = dataset.episodes, settings.plan
    index = index_windows(episodes, plan.horizon, "repeat_last", dataset.name)
    plans = PlanData(episodes.observations, episodes.actions, index)
    dims = dataclasses.replace(dimensions(settings, dataset), rank=0)
    gather_plans = make_gather(dims, dataset, plan)

    def gather(data: PlanReturnData, rows) -> RewardBatch:
        flat = rows.reshape(-1)
        batch = gather_plans(data.plans, flat)
        pair = whole_plan(dims, batch.plans, batch.condition)
        batch = RewardBatch(*pair, data.targets[flat])
        return jax.tree.map(lambda x: x.reshape(*rows.shape, *x.shape[1:]), batch)

    return RewardItems(
        PlanReturnData(plans, targets, train_rows),
        lambda data, rows: gather(data, data.train_rows[rows]),
        len(train_rows),
        gather(PlanReturnData(plans, targets, train_rows), _thinned(held_rows)),
        normalizer,
    )


def _thinned(rows: np.ndarray) -> np.ndarray:
    """At most :data:`_HELD` of `rows`, evenly spaced."""
    return rows[:: -(-len(rows) // _HELD)]


def _returns(settings: Settings, dataset: OfflineDataset):
    """([N] normalised returns-to-go, their normaliser, training rows, held-out rows).

    With nothing held out, the last are the training's.
    """
    options, episodes = settings.reward, dataset.episodes
    require_rewards(dataset, f"config.reward.target = {options.target!r}")
    targets = return_to_go(episodes, options.discount, options.termination_penalty)
    targets = targets[:, None]
    normalizer = fit_min_max(targets)
    train_rows, held_rows = split_episodes(
        episodes.starts, options.holdout_fraction, settings.dataset.seed
    )
    held_rows = held_rows if len(held_rows) else train_rows
    return normalizer.normalize(targets)[:, 0], normalizer, train_rows, held_rows


def goal_rewards(settings: Settings, dataset: OfflineDataset) -> RewardItems:
    """Pairs of a state and a goal, one that the episode reaches some steps later.

    Row r is the state that training window r // H begins with, and the goal that its
    state r % H has reached; steps are those of a plan. Of ``goal_indicator`` every
    second goal is one of another row, so that pairs which lie far apart are seen too.
    With ``off_data_every`` a goal's return falls to 0 where there is no data.
    """
    options, plan = settings.reward, settings.plan
    episodes, horizon, size = dataset.episodes, plan.horizon, plan.goal_size
    index = index_windows(
        window_episodes(settings, dataset), horizon, "repeat_last", dataset.name
    )
    train_rows, held_rows = split_episodes(
        episodes.starts, options.holdout_fraction, settings.dataset.seed
    )
    num_train = len(train_rows) * horizon
    if max(num_train, len(held_rows) * horizon) > np.iinfo(np.int32).max:
        raise ConfigError(
            f"config.plan.horizon: expected at most 2^31 pairs of a state and a lag, "
            f"found {num_train}; take fewer transitions"
        )
    task = task_of(settings.environment.id)
    states = dataset.observation_normalizer
    goal_normalizer = type(states)(*(task.goal_of(bound, size) for bound in states))

    def goals_reached(data, windows, lags):
        last = data.index.bounds[data.index.episode[windows] + 1] - 1
        steps = (data.index.start[windows] + plan.stride * lags).clip(max=last)
        return task.goal_of(data.observations[steps], size)

    def gather(data: GoalData, rows, window_rows) -> RewardBatch:
        windows = window_rows[rows // horizon]
        goal_rows = rows
        if options.target == "goal_indicator":
            goal_rows = rows + (rows[..., ::-1] - rows) * (rows % 2)
        goals = goals_reached(
            data, window_rows[goal_rows // horizon], goal_rows % horizon
        )
        if options.target == "goal_indicator":
            gap = goals_reached(data, windows, 0) - goals
            targets = (gap**2).sum(axis=-1) < options.goal_radius**2
        else:
            lags = np.arange(horizon, dtype=np.int32)
            path = goals_reached(data, windows[..., None], lags)
            gap = path - goals[..., None, :]
            arrived = (gap**2).sum(axis=-1) < options.goal_radius**2
            targets = options.discount ** arrived.argmax(axis=-1)
        states = data.observations[data.index.start[windows]]
        if options.target == "goal_return" and options.off_data_every is not None:
            # States mixed from the components of different rows lie where the data
            # never is, such as in a wall; their return is 0.
            moved = rows % options.off_data_every == 0
            size, components = states.shape[-2], np.arange(states.shape[-1])
            others = (np.arange(size)[:, None] + components) % size
            mixed = states[..., others, components]
            states = states + (mixed - states) * moved[..., None]
            targets = targets * ~moved
        return RewardBatch(
            dataset.observation_normalizer.normalize(states),
            goal_normalizer.normalize(goals),
            targets.astype(np.float32),
        )

    data = GoalData(episodes.observations, index, train_rows)
    held_rows = held_rows if len(held_rows) else train_rows
    rows = np.random.default_rng(0).integers(
        len(held_rows) * horizon, size=_HELD, dtype=np.int32
    )
    identity = MinMaxNormalizer(
        np.array([-1.0], np.float32), np.array([1.0], np.float32)
    )
    return RewardItems(
        data,
        lambda data, rows: gather(data, rows, data.train_rows),
        num_train,
        gather(data, rows, held_rows),
        identity,
    )


_ITEMS = {"return_to_go": returns_to_go, "plan_return": plan_returns}


def _check_target(target: str, kind: str, dims: Dimensions) -> None:
    """Raises ConfigError for a target that these plans do not have."""
    if dims.joint:
        raise ConfigError(
            "config.plan.kind: expected 'actions' or 'states' for reward models, found "
            "'joint'"
        )
    if dims.goal:
        expected, condition = GOAL_TARGETS, "a goal"
    elif dims.plans_states:
        expected, condition = ("plan_return",), "config.plan.goal_size = 0"
    else:
        expected, condition = tuple(_ITEMS), "no goal"
    if target not in expected:
        raise ConfigError(
            f"config.reward.target: expected {' or '.join(expected)} with "
            f"config.plan.kind = {kind!r} and {condition}, found {target!r}"
        )


def reward_stage(settings: Settings, dataset: OfflineDataset) -> Stage:
    """The reward models, by regression on the normalised target.

    The members of the ensemble have their own initial weights and batches, and are
    trained together by vmap.

    Raises:
      ConfigError: the target does not fit the kind of plans.
      DataError: the target is a return-to-go, and the data has no rewards.
    """
    dims = dimensions(settings, dataset)
    options = settings.reward
    method = RewardEnsemble.from_settings(settings, dims)
    _check_target(options.target, settings.plan.kind, dims)
    items = _ITEMS.get(options.target, goal_rewards)(settings, dataset)

    @jax.jit
    def held_out_error(params, observations, inputs, targets):
        reward_fn = method.reward_fn(params, pessimism=0.0)
        error = reward_fn(observations, inputs) - targets
        return {"loss/held_out_mse": jnp.mean(jnp.square(error))}

    return Stage(
        name="reward",
        method=method,
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        frozen={},
        data=items.data,
        num_rows=items.num_train,
        gather=items.gather,
        draws_per_item=options.num_members,
        mixes_rows=options.target in GOAL_TARGETS,
        streaming=settings.dataset.streaming,
        metadata={
            **base_metadata("reward", settings, dataset),
            "return_normalizer": items.return_normalizer.to_dict(),
        },
        probe=lambda state, _: held_out_error(state.ema_params, *items.held_out),
    )
