"""Which windows are learned from: uniform, the best episodes, tilted to advantages."""

import dataclasses

import numpy as np
import pytest

from ractd_jax.data import weighting
from ractd_jax.data.episodes import build_episodes
from ractd_jax.data.weighting import (
    choose_windows,
    describe_windows,
    estimate_advantages,
    tilted_weights,
)
from ractd_jax.data.windows import index_windows
from ractd_jax.errors import ConfigError
from ractd_jax.settings import Dataset, from_mapping


def episodes_of(lengths, rewards, terminals=()):
    """Episodes whose steps all pay their episode's reward."""
    rng = np.random.default_rng(0)
    size = sum(lengths)
    ends = np.cumsum(lengths) - 1
    flags = np.zeros((2, size), bool)
    for episode, end in enumerate(ends):
        flags[0 if episode in terminals else 1, end] = True
    return build_episodes(
        {
            "observations": rng.standard_normal((size, 3)),
            "actions": rng.standard_normal((size, 2)),
            "rewards": np.repeat(rewards, lengths),
            "terminals": flags[0],
            "timeouts": flags[1],
        },
        "test",
    )


def chosen(episodes, **options):
    index = index_windows(episodes, 4, "repeat_last")
    return choose_windows(index, episodes, Dataset(**options), "test")


def test_uniform_windows_are_the_index_itself():
    episodes = episodes_of([5, 7], [1.0, 2.0])
    index = index_windows(episodes, 4, "repeat_last")
    found = choose_windows(index, episodes, Dataset(), "test")
    assert found.index is index
    assert found.summary["windows"] == found.summary["distinct"] == 12


def test_top_keeps_the_best_whole_episodes_that_fit():
    episodes = episodes_of([10, 10, 10, 10], [0.1, 0.4, 0.3, 0.2])
    found = chosen(episodes, weighting="top", top_fraction=0.5)
    assert set(found.index.episode.tolist()) == {1, 2}
    assert sorted(found.index.start.tolist()) == list(range(10, 30))
    assert found.summary["return_mean"] == pytest.approx(3.5)
    assert found.summary["return_mean_uniform"] == pytest.approx(2.5)
    assert "20 of 40 windows, from 2 episodes" in describe_windows(found.summary)
    every = chosen(episodes, weighting="top", top_fraction=1.0)
    assert len(every.index.start) == 40


def test_a_fraction_without_a_whole_episode_is_an_error():
    episodes = episodes_of([10, 10], [1.0, 2.0])
    with pytest.raises(
        ConfigError,
        match=r"config.dataset.top_fraction: 0.1 of the 20 .*weighting = 'advantage'",
    ):
        chosen(episodes, weighting="top", top_fraction=0.1)


def test_advantages_that_differ_by_rounding_are_equal():
    """One float32 step around 7, and returns that only a fit's rounding tells apart."""
    seven = np.float32([7.0, np.nextafter(np.float32(7), np.float32(8)), 7.0])
    np.testing.assert_array_equal(tilted_weights(seven, 3.0, 5.0), 1.0)
    rewards = 1e4 + 1e-3 * (np.arange(40) % 2)
    episodes = episodes_of([1] * 40, rewards, terminals=range(40))
    np.testing.assert_array_equal(estimate_advantages(episodes, 0.9), 0.0)


def test_tilted_weights_are_the_clipped_exponential():
    advantages = np.array([-1.0, 0.0, 1.0, 2.0, -2.0])
    std = advantages.std()
    found = tilted_weights(advantages, 3.0, 5.0)
    np.testing.assert_allclose(
        found, np.minimum(np.exp(3.0 * advantages / std), 5.0), rtol=1e-6
    )
    np.testing.assert_array_equal(tilted_weights(np.full(3, 7.0), 3.0, 5.0), 1.0)
    assert np.isfinite(tilted_weights(1e6 * advantages, 1e6, 20.0)).all()


def test_resampling_takes_each_window_in_proportion():
    weights = np.array([0.0, 1.0, 3.0, 4.0])
    found = weighting._resample(np.tile(weights, 25))
    counts = np.bincount(found, minlength=100)
    expected = 100 * np.tile(weights, 25) / (25 * weights.sum())
    assert counts.sum() == 100 and (np.abs(counts - expected) < 1.0).all()
    assert counts[::4].sum() == 0


def test_advantages_are_those_of_a_two_action_bandit():
    """r = s + a with a of -1 or 1, one step an episode: A = a."""
    rng = np.random.default_rng(1)
    size = 6_000
    states, actions = rng.uniform(-1, 1, size), rng.choice([-1.0, 1.0], size)
    episodes = build_episodes(
        {
            "observations": np.stack([states, states**2], axis=1),
            "actions": actions[:, None],
            "rewards": states + actions,
            "terminals": np.ones(size, bool),
            "timeouts": np.zeros(size, bool),
        },
        "bandit",
    )
    found = estimate_advantages(episodes, 0.99)
    assert estimate_advantages(episodes, 0.99) is found and not found.flags.writeable
    np.testing.assert_allclose(found, actions, atol=0.35)
    assert np.abs(found - actions).mean() < 0.1


def test_an_episode_that_was_cut_off_goes_on_with_its_value():
    """A constant reward of 1 is worth 1 / (1 - gamma) everywhere, also at a cut."""
    episodes = episodes_of([50] * 40, [1.0] * 40)
    cut = np.abs(estimate_advantages(episodes, 0.9)).max()
    fallen = dataclasses.replace(
        episodes, terminals=episodes.timeouts, timeouts=episodes.terminals
    )
    ended = np.abs(estimate_advantages(fallen, 0.9)).max()
    # Observations say nothing of the time: a fall is a surprise, a cut far less so.
    assert cut < 0.6 * ended


def test_tilted_windows_prefer_the_better_policy():
    """Two policies in the same states: the one with more reward is drawn more often."""
    episodes = episodes_of([100] * 20, [0.0, 1.0] * 10)
    found = chosen(episodes, weighting="advantage", advantage_discount=0.9)
    better = np.mean(found.index.episode % 2 == 1)
    assert better > 0.9 and len(found.index.start) == 2_000
    assert found.summary["return_mean"] > 90.0
    assert found.summary["distinct"] < found.summary["of"]
    np.testing.assert_array_equal(
        found.index.start,
        chosen(episodes, weighting="advantage", advantage_discount=0.9).index.start,
    )


def test_both_tilts_among_the_best_episodes():
    episodes = episodes_of([100] * 20, np.repeat([0.0, 1.0, 2.0, 3.0], 5))
    options = {"top_fraction": 0.5, "advantage_discount": 0.9}
    found = chosen(episodes, weighting="both", **options)
    top = chosen(episodes, weighting="top", **options)
    assert set(found.index.episode.tolist()) <= set(top.index.episode.tolist())
    assert len(found.index.start) == len(top.index.start) == 1_000
    # Of the two best kinds of episodes, the better one is drawn more often.
    assert np.mean(found.index.episode >= 15) > 0.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_fraction": 0.0}, "config.dataset.top_fraction: expected more than 0"),
        ({"top_fraction": 1.5}, "config.dataset.top_fraction"),
        ({"advantage_beta": 0.0}, "config.dataset.advantage_beta"),
        ({"weighting": "best"}, "config.dataset.weighting: expected"),
    ],
)
def test_impossible_settings_name_their_field(options, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping({"dataset": options})
