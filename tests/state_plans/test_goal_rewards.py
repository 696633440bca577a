"""Rewards of states and goals, from plans of states."""

import jax
import numpy as np
import pytest

from ractd_jax.errors import ConfigError
from ractd_jax.training.stages import reward as stages_reward
from ractd_jax.training.stages import (
    reward_stage,
    split_episodes,
)
from tests.state_plans.conftest import LENGTHS, state_settings, with_goals
from tests.toys import HORIZON

# --- rewards of states and goals


def goal_rows(dataset, settings, rows: np.ndarray, window_rows: np.ndarray):
    """(states, goals, targets) in environment units of `rows`, one by one."""
    episodes, options = dataset.episodes, settings.reward
    ends = np.cumsum(LENGTHS)
    observations = episodes.observations

    def path(row):
        start = window_rows[row // HORIZON]
        last = ends[np.searchsorted(ends, start, side="right")] - 1
        stride = settings.plan.stride
        return [observations[min(start + stride * k, last)] for k in range(HORIZON)]

    states, goals, targets = [], [], []
    for i, row in enumerate(rows):
        other = row
        if options.target == "goal_indicator" and row % 2:
            other = rows[len(rows) - 1 - i]
        goal = path(other)[other % HORIZON][:2]
        near = [
            bool(np.hypot(*(s[:2] - goal)) < options.goal_radius) for s in path(row)
        ]
        if options.target == "goal_indicator":
            targets.append(float(near[0]))
        else:
            targets.append(options.discount ** near.index(True))
        states.append(path(row)[0])
        goals.append(goal)
    return np.array(states), np.array(goals), np.array(targets)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("target", ["goal_indicator", "goal_return"])
def test_goal_rewards_equal_a_slow_reference(dataset, target, stride):
    """Every row in order, and rows of two members' batches in any order."""
    settings = state_settings(reward={"target": target}, plan={"stride": stride})
    items = stages_reward.goal_rewards(settings, dataset)
    train_rows, _ = split_episodes(dataset.episodes.starts, 0.3, settings.seed)
    assert items.num_train == len(train_rows) * HORIZON
    rng = np.random.default_rng(1)
    drawn = rng.integers(items.num_train, size=(2, 75), dtype=np.int32)
    for rows in (np.arange(items.num_train, dtype=np.int32), drawn):
        host = items.gather(items.data, rows)
        device = jax.jit(items.gather)(jax.device_put(items.data), rows)
        expected = [
            goal_rows(dataset, settings, member, train_rows)
            for member in rows.reshape(-1, rows.shape[-1])
        ]
        states, goals, targets = (
            np.stack(parts).reshape(*rows.shape, *parts[0].shape[1:])
            for parts in zip(*expected, strict=True)
        )
        low, high = (np.asarray(bound) for bound in dataset.observation_normalizer)
        states = (states - low) / (high - low) * 2 - 1
        goals = (goals - low[:2]) / (high - low)[:2] * 2 - 1
        for batch in (host, device):
            assert {array.dtype for array in batch} == {np.dtype(np.float32)}
            np.testing.assert_allclose(batch.observations, states, atol=1e-5)
            np.testing.assert_allclose(batch.inputs, goals, atol=1e-5)
            np.testing.assert_allclose(batch.targets, targets, rtol=1e-5)
    share = targets.mean() if target == "goal_indicator" else (targets < 1).mean()
    assert 0.1 < share < 0.9, "the radius separates nothing"


def test_goals_of_a_split_episode_lie_on_its_own_path(dataset):
    """Goals are of the same way; the held-out rows are those of whole episodes."""
    ways = (4, LENGTHS[0] - 4, *LENGTHS[1:])
    settings = state_settings(
        reward={"target": "goal_return"}, plan={"split_at_goals": True}
    )
    items = stages_reward.goal_rewards(settings, with_goals(dataset, ways))
    train_rows, _ = split_episodes(dataset.episodes.starts, 0.3, settings.seed)
    assert items.num_train == len(train_rows) * HORIZON
    rows = np.arange(items.num_train, dtype=np.int32)
    batch = items.gather(items.data, rows)
    low, high = (np.asarray(bound)[:2] for bound in dataset.observation_normalizer)
    goals = (batch.inputs + 1) / 2 * (high - low) + low
    gaps = goals[:, None] - dataset.episodes.observations[None, :, :2]
    place = np.square(gaps).sum(axis=-1).argmin(axis=1)
    way = np.repeat(np.arange(len(ways)), ways)
    np.testing.assert_array_equal(way[place], way[train_rows[rows // HORIZON]])


def test_goals_off_the_data_return_nothing(dataset):
    """Every third row has its component k from the k-th row after it."""
    plain, moved = (
        stages_reward.goal_rewards(
            state_settings(reward={"target": "goal_return", "off_data_every": every}),
            dataset,
        )
        for every in (None, 3)
    )
    rows = np.random.default_rng(2).integers(
        plain.num_train, size=(2, 40), dtype=np.int32
    )
    before, host = (items.gather(items.data, rows) for items in (plain, moved))
    device = jax.jit(moved.gather)(jax.device_put(moved.data), rows)
    off = rows % 3 == 0
    states = before.observations.copy()
    for k in range(states.shape[-1]):
        other = np.roll(before.observations[..., k], -k, axis=1)
        states[..., k] = np.where(off, other, states[..., k])
    for batch in (host, device):
        np.testing.assert_allclose(batch.observations, states, atol=1e-6)
        goals, expected = batch.inputs, before.inputs
        np.testing.assert_allclose(goals, expected, atol=1e-6)
        np.testing.assert_allclose(batch.targets, before.targets * ~off, rtol=1e-5)


@pytest.mark.parametrize("target", ["goal_indicator", "goal_return"])
def test_held_out_goals_are_of_held_out_episodes(dataset, target):
    settings = state_settings(reward={"target": target})
    items = stages_reward.goal_rewards(settings, dataset)
    train_rows, held_rows = split_episodes(dataset.episodes.starts, 0.3, settings.seed)
    assert len(held_rows) and len(train_rows)
    table = dataset.observation_normalizer.normalize(dataset.episodes.observations)
    row_of = {state.tobytes(): row for row, state in enumerate(table)}
    goal_row_of = {state[:2].tobytes(): row for row, state in enumerate(table)}
    assert len(row_of) == len(goal_row_of) == len(table)
    everything = np.arange(items.num_train, dtype=np.int32)
    for batch, rows in (
        (items.held_out, held_rows),
        (items.gather(items.data, everything), train_rows),
    ):
        for array, lookup in (
            (batch.observations, row_of),
            (batch.inputs, goal_row_of),
        ):
            found = {lookup[value.tobytes()] for value in np.asarray(array)}
            # In 8,192 draws from a few hundred none is missing.
            assert found == set(rows.tolist())


@pytest.mark.parametrize(
    ("kind", "target", "expected"),
    [
        ("actions", "goal_return", "return_to_go or plan_return"),
        ("actions", "goal_indicator", "return_to_go or plan_return"),
        ("states", "return_to_go", "goal_indicator or goal_return"),
        ("states", "plan_return", "goal_indicator or goal_return"),
    ],
)
def test_a_reward_that_does_not_fit_the_plans_is_named(dataset, kind, target, expected):
    settings = state_settings(plan={"kind": kind}, reward={"target": target})
    message = (
        f"config.reward.target: expected {expected} with config.plan.kind = "
        f"'{kind}' and .*, found '{target}'"
    )
    with pytest.raises(ConfigError, match=message):
        reward_stage(settings, dataset)
