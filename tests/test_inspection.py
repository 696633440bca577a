"""A look at data: each check fires on its fault and only there."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ractd_jax.data.episodes import Episodes
from ractd_jax.inspection import checks as checks
from ractd_jax.inspection.report import format_inspection
from tests.inspection_toys import (
    CLEAN,
    EVERYTHING,
    FAULTS,
    HORIZON,
    clean,
    look,
    make_episodes,
    repeated,
    structures,
)


@pytest.mark.parametrize("seed", range(5))
def test_clean_data_are_silent(seed):
    found = look(make_episodes(CLEAN, seed), score_min=0.0, score_max=100.0)
    assert found.warnings == ()
    assert (found.num_episodes, found.limit, found.beyond_limit) == (16, 60, 0)
    assert "Verdict: no problems found." in format_inspection(found).splitlines()


@pytest.mark.parametrize("name", FAULTS)
def test_one_fault_is_one_warning(name):
    """The fault is named with its numbers, and nothing else is."""
    episodes, words = FAULTS[name]
    found = look(episodes)
    assert [words in warning for warning in found.warnings] == [True], found.warnings
    report = format_inspection(found)
    assert "Verdict: 1 thing to look at." in report
    assert f"* {found.warnings[0]}" in report.splitlines()


def test_every_step_an_ending():
    """Said once, not again as short episodes of the same length."""
    fall = make_episodes([(1, True, False)] * 20)
    assert look(fall, horizon=1).findings[0].text == "Every step is a terminal."
    mixed = make_episodes([(1, True, False), (1, False, True)] * 10)
    assert look(mixed, horizon=1).findings[0].text == "Every step ends an episode."
    for found in (look(fall), look(mixed)):
        assert len(found.warnings) == 2, "this, and no window with padding=drop"


def test_a_horizon_beyond_every_episode():
    found = look(make_episodes(CLEAN), horizon=60)
    assert found.windows == {"repeat_last": 652, "drop": 0}
    assert [w.startswith("No episode is longer") for w in found.warnings] == [True]
    assert look(make_episodes(CLEAN), horizon=59).windows["drop"] == 5


def test_a_given_time_limit_replaces_the_guess():
    assert look(make_episodes(CLEAN), limit=59).beyond_limit == 5
    assert look(make_episodes([*CLEAN, (61, True, False)]), limit=61).warnings == ()


def test_bounds_may_differ_by_dimension():
    episodes = clean(actions=[((EVERYTHING, 0), 5.0)])
    episodes.actions[::2, 0] = -5.0
    low, high = [-5, -1, -np.inf], [5, 1, np.inf]
    found = look(episodes, action_low=low, action_high=high)
    assert found.warnings == ()
    assert found.actions.saturated_share == pytest.approx(1 / 3, abs=0.01)
    assert found.to_dict()["actions"]["low"] == [-5.0, -1.0, None]


def test_a_resting_object_does_not_jump_when_touched():
    """Drifting by 1e-6 for long and then moving at 1e-2 is no missed ending."""
    episodes = make_episodes([(5000, False, True)])
    moves = np.where(np.arange(5000) < 4960, 1e-6, 1e-2)
    episodes.observations[:, :3] = np.cumsum(moves)[:, None]
    assert look(episodes).jumps.count == 0


def test_a_stop_within_a_step_does_not_jump():
    """One dimension's change, such as the speed of a point at a wall, is no reset."""
    episodes = make_episodes([(2000, False, True)])
    episodes.observations[1000:, 3] += 1e4
    assert look(episodes).jumps.count == 0
    episodes.observations[1000:, 2] -= 1e4
    assert look(episodes).jumps.first_transition == 999


def test_goals_are_counted_and_tell_duplicates_apart():
    episodes = repeated(0, 1)
    goals = np.zeros((episodes.num_transitions, 2), np.float32)
    same = look(dataclasses.replace(episodes, goals=goals))
    assert (same.goal_dim, same.duplicates) == (2, ((0, 16),))
    goals[episodes.starts[16] :] = np.nan
    other = look(dataclasses.replace(episodes, goals=goals))
    assert other.duplicates == ()
    assert other.non_finite["goals"] == 2 * 20


@given(structures)
@settings(max_examples=40)
def test_structure_is_counted(structure):
    """Endings, lengths and windows of any episodes."""
    found = look(make_episodes(structure))
    lengths = [steps for steps, _, _ in structure]
    kinds = [(terminal, timeout) for _, terminal, timeout in structure]
    assert dataclasses.astuple(found.endings) == (
        kinds.count((True, False)),
        kinds.count((False, True)),
        kinds.count((True, True)),
        kinds.count((False, False)),
        0,
    )
    assert (found.lengths.minimum, found.lengths.maximum) == (
        min(lengths),
        max(lengths),
    )
    assert found.windows == {
        "repeat_last": sum(lengths),
        "drop": sum(max(steps - HORIZON, 0) for steps in lengths),
    }
    assert found.one_step == lengths.count(1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=10))
@settings(max_examples=40)
def test_duplicates_are_the_equal_ones(contents):
    """Episodes drawn from four contents are grouped by their content."""
    rows = np.array(contents, np.float32).repeat(3)[:, None]
    ends = np.tile([False, False, True], len(contents))
    episodes = Episodes(
        rows, rows, rows[:, 0], ends, ~ends, np.arange(0, len(rows) + 1, 3)
    )
    expected = {
        tuple(i for i, other in enumerate(contents) if other == content)
        for content in contents
        if contents.count(content) > 1
    }
    assert set(checks.duplicate_groups(episodes)) == expected


@given(st.lists(st.floats(width=32), min_size=1, max_size=60))
@settings(max_examples=60)
def test_spread_is_of_the_finite_values(values):
    values = np.array(values, np.float32)
    finite = values[np.isfinite(values)].astype(np.float64)
    found = checks.spread(values)
    assert checks.count_non_finite(values) == len(values) - len(finite)
    if len(finite) == 0:
        assert found is None
        return
    quantiles = dataclasses.astuple(found)[:7]
    assert list(quantiles) == sorted(quantiles)
    assert quantiles[0] == finite.min() and quantiles[6] == finite.max()
    assert found.median == pytest.approx(np.median(finite))
    assert found.mean == pytest.approx(finite.mean())
