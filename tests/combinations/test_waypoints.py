"""Waypoints of windows, pairs that are held out, and what plans are asked for."""

import numpy as np
import pytest

from ractd_jax.data.combinations import HeldOut, held_out, regions_of, seen_rows
from ractd_jax.data.windows import index_windows, plan_waypoints
from ractd_jax.errors import ConfigError
from ractd_jax.pipelines.combinations.maze_queries import (
    KINDS,
    draw_queries,
    points_along,
    support,
    validity,
)
from ractd_jax.tasks.maze_map import MazeMap, shortest_path
from ractd_jax.training.stages.base import plan_sampling
from ractd_jax.training.stages.plan_sizes import dimensions
from tests.combinations.test_elements import settings_of
from tests.toys import HORIZON

RING = MazeMap(
    np.array(
        [[c == "#" for c in row] for row in ("#######", "#.....#", "#.###.#",
                                             "#.###.#", "#.....#", "#######")]
    ),
    "ring",
)  # fmt: skip


# --- of windows


def test_waypoints_cut_the_way_until_the_arrival():
    plans = np.arange(2 * 9).reshape(2, 9, 1)
    found = plan_waypoints(plans, np.array([8, 4]), 3)
    np.testing.assert_array_equal(found[..., 0], [[2, 4, 6], [10, 11, 12]])


def test_a_window_is_conditioned_on_states_of_its_own(dataset):
    """For every window and lag, also where the episode ends before the lag."""
    settings = settings_of()
    sampling, _ = plan_sampling("teacher", settings, dataset)
    rows = np.arange(sampling["num_rows"], dtype=np.int32)
    batch = sampling["gather"](sampling["data"], rows)
    plans, condition = np.asarray(batch.plans), batch.condition
    assert condition["elements"].shape == (len(rows), 3, 2)
    np.testing.assert_array_equal(condition["known"], np.ones((len(rows), 1)))
    index = sampling["data"].index
    windows, lags = rows // (HORIZON - 1), 1 + rows % (HORIZON - 1)
    left = index.bounds[index.episode[windows] + 1] - 1 - index.start[windows]
    last = np.minimum(lags, left)
    for part in range(3):
        step = last * (part + 1) // 4
        expected = plans[np.arange(len(rows)), step, :2]
        np.testing.assert_allclose(condition["elements"][:, part], expected)
    # The goal is where the way ends, and the plan stays there.
    np.testing.assert_allclose(
        condition["goal"][:, :2], plans[np.arange(len(rows)), last, :2], atol=1e-6
    )


@pytest.mark.parametrize(
    ("plan", "name"),
    [
        ({"kind": "actions"}, "elements"),
        ({"goal_size": 0}, "elements"),
    ],
)
def test_plans_without_a_goal_have_no_waypoints(dataset, plan, name):
    if plan.get("kind") == "actions":
        plan = plan | {"conditioning": "film"}
    with pytest.raises(ConfigError, match=rf"config\.plan\.{name}: expected 'none'"):
        dimensions(settings_of(plan=plan), dataset)


# --- held out


@pytest.mark.parametrize("every", [2, 4, 1_000])
def test_every_region_stays_in_every_place(medium, every):
    held = held_out(medium, every)
    free = np.unique(regions_of(medium, medium.cell_to_xy(medium.free_cells)))
    pairs = held.pairs[np.ix_(free, free)]
    assert not np.diag(pairs).any() and held.pairs.sum() == pairs.sum()
    assert (~pairs).sum(axis=0).min() >= 2 and (~pairs).sum(axis=1).min() >= 2
    triples = held.triples[np.ix_(free, free, free)]
    assert held.triples.sum() == triples.sum()
    # Of pairs that are not held out, and of middles that are neither end.
    assert not triples[pairs[:, None].repeat(len(free), axis=1)].any()
    ends = np.arange(len(free))
    assert not triples[ends, ends].any() and not triples[:, ends, ends].any()
    for axes in ((0, 1), (0, 2), (1, 2)):
        allowed = ~(triples | pairs[:, None])
        assert allowed.any(axis=axes).all()
    if every < 1_000:
        number = len(free) * (len(free) - 1)
        assert 0.5 / every < pairs.sum() / number < 1.5 / every
        left = (number - pairs.sum()) * (len(free) - 2)
        assert 0.7 / every < triples.sum() / left < 1.3 / every


def test_one_in_one_cannot_be_held_out(medium):
    with pytest.raises(ConfigError, match="held_out_combinations: expected 0 or at"):
        held_out(medium, 1)


def ways_of(data_index, lags, stride, medium, episodes):
    """Regions of start, middle and goal of each row."""
    last = data_index.bounds[data_index.episode + 1] - 1
    arrival = np.minimum(data_index.start + stride * lags, last)
    regions = regions_of(medium, episodes.observations[:, :2])
    # Of the states of a plan, the one in the middle of its way.
    way = (arrival - data_index.start) // stride
    middle = data_index.start + stride * (way // 2)
    return regions[data_index.start], regions[middle], regions[arrival]


def test_no_row_makes_a_way_that_is_held_out(dataset, medium):
    episodes = dataset.episodes
    index = index_windows(episodes, HORIZON, "repeat_last")
    kept, lags = seen_rows(index, episodes, medium, 2, HORIZON, 2)
    assert 0 < len(lags) < 2 * len(index.start)
    assert lags.min() >= 1 and lags.max() <= HORIZON - 1
    held = held_out(medium, 2)
    assert not held.holds(*ways_of(kept, lags, 2, medium, episodes)).any()
    # The others were drawn, too.
    every, lags = seen_rows(index, episodes, medium, 10**9, HORIZON, 2)
    ways = ways_of(every, lags, 2, medium, episodes)
    assert held.pairs[ways[0], ways[2]].any() and held.triples[ways].any()


def test_held_out_combinations_need_a_maze(dataset):
    settings = settings_of(dataset={"held_out_combinations": 4})
    with pytest.raises(
        ConfigError, match=r"config\.dataset\.held_out_combinations: expected"
    ):
        plan_sampling("teacher", settings, dataset)


def test_rows_of_a_training_lead_to_their_lags(dataset, medium):
    """A row is a window with its own lag, once pairs are held out."""
    settings = settings_of(
        dataset={"held_out_combinations": 2},
        environment={"id": "ractd/Maze2d-Medium-v0"},
    )
    sampling, windows = plan_sampling("teacher", settings, dataset)
    data = sampling["data"]
    assert sampling["num_rows"] == len(data.lags) == windows["rows"]
    rows = np.arange(sampling["num_rows"], dtype=np.int32)
    batch = sampling["gather"](data, rows)
    last = data.index.bounds[data.index.episode + 1] - 1
    arrival = np.minimum(data.index.start + data.lags, last)
    positions = dataset.observation_normalizer.normalize(data.observations)[:, :2]
    np.testing.assert_allclose(
        batch.condition["goal"][:, :2], positions[arrival], atol=1e-6
    )


# --- what is asked


def test_points_cut_a_line_into_equal_parts():
    line = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0]])
    np.testing.assert_allclose(points_along(line, 3), [[1, 0], [2, 0], [3, 0]])


@pytest.mark.parametrize("kind", KINDS)
def test_queries_are_what_they_say(medium, kind):
    held = held_out(medium, 4)
    asked = draw_queries(medium, held, kind, 50, 14.0, 3, 0)
    again = draw_queries(medium, held, kind, 50, 14.0, 3, 0)
    np.testing.assert_array_equal(asked.waypoints, again.waypoints)
    points = asked.starts, asked.waypoints[:, 1], asked.goals
    start, middle, goal = (regions_of(medium, xy) for xy in points)
    pairs, triples = held.pairs[start, goal], held.triples[start, middle, goal]
    assert pairs.all() == pairs.any() == (kind == "held_out")
    assert triples.all() == triples.any() == (kind == "detours")
    for start, goal, waypoints in zip(*asked, strict=True):
        assert not medium.is_wall(np.stack([start, goal, *waypoints])).any()
        cells = (tuple(medium.xy_to_cell(xy).tolist()) for xy in (start, goal))
        path = np.array(shortest_path(medium, *cells))
        gaps = np.linalg.norm(waypoints[:, None] - medium.cell_to_xy(path), axis=-1)
        off = gaps.min(axis=1).max()
        assert off > 1.0 if kind == "detours" else off < 0.8


def test_a_ring_has_a_way_round_and_a_corridor_none():
    held = HeldOut(np.zeros((20, 20), bool), np.ones((20, 20, 20), bool))
    asked = draw_queries(RING, held, "detours", 5, 20.0, 3, 0)
    assert len(asked.goals) == 5
    corridor = MazeMap(np.array([[1] * 8, [1, *[0] * 6, 1], [1] * 8], bool), "corridor")
    with pytest.raises(
        ConfigError, match="corridor: expected 5 ways of kind 'detours'"
    ):
        draw_queries(corridor, held, "detours", 5, 20.0, 3, 0)


def test_a_plan_is_valid_if_it_passes_everything_and_no_wall(medium):
    held = held_out(medium, 4)
    asked = draw_queries(medium, held, "seen", 20, 14.0, 3, 0)
    plans = []
    for start, goal, _ in zip(*asked, strict=True):
        cells = (tuple(medium.xy_to_cell(xy).tolist()) for xy in (start, goal))
        path = medium.cell_to_xy(np.array(shortest_path(medium, *cells)))
        path[0], path[-1] = start, goal
        plans.append(points_along(path, 62))
    plans = np.stack(plans)
    assert validity(medium, asked, plans).valid.all()
    straight = np.linspace(asked.starts, asked.goals, 64, axis=1)
    found = validity(medium, asked, straight)
    assert not found.free.all() and found.arrived.all()
    np.testing.assert_array_equal(found.valid, found.free & found.passed)
    short = validity(medium, asked, plans[:, :40])
    assert not short.arrived.any() and not short.passed.all()
    alone = support(medium, asked, asked)
    assert alone == {"slots": [1.0] * 5, "combinations": 1.0}
    other = draw_queries(medium, held, "held_out", 20, 14.0, 3, 0)
    assert support(medium, other, asked)["combinations"] == 0.0
