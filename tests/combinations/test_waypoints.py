"""Waypoints of windows, pairs that are held out, and what plans are asked for."""

import numpy as np
import pytest

from ractd_jax.data.combinations import held_out_pairs, regions_of, seen_rows
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
from ractd_jax.training.stages.base import dimensions, plan_sampling
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


def test_every_region_stays_a_start_and_a_goal(medium):
    for every in (2, 4, 1_000):
        held = held_out_pairs(medium, every)
        free = np.unique(regions_of(medium, medium.cell_to_xy(medium.free_cells)))
        inner = held[np.ix_(free, free)]
        assert not np.diag(inner).any()
        assert (~inner).sum(axis=0).min() >= 2 and (~inner).sum(axis=1).min() >= 2
        assert held.sum() == inner.sum()
        if every < 1_000:
            pairs = len(free) * (len(free) - 1)
            assert 0.5 / every < inner.sum() / pairs < 1.5 / every
    with pytest.raises(ConfigError, match="held_out_pairs: expected 0 or at least 2"):
        held_out_pairs(medium, 1)


def test_no_row_leads_between_regions_that_are_held_out_together(dataset, medium):
    episodes = dataset.episodes
    index = index_windows(episodes, HORIZON, "repeat_last")
    held = held_out_pairs(medium, 2)
    kept, lags = seen_rows(index, episodes, medium, 2, HORIZON, 2)
    assert 0 < len(lags) < 2 * len(index.start)
    assert lags.min() >= 1 and lags.max() <= HORIZON - 1
    last = index.bounds[kept.episode + 1] - 1
    arrival = np.minimum(kept.start + 2 * lags, last)
    regions = regions_of(medium, episodes.observations[:, :2])
    assert not held[regions[kept.start], regions[arrival]].any()


def test_held_out_pairs_need_a_maze(dataset):
    settings = settings_of(dataset={"held_out_pairs": 4})
    with pytest.raises(ConfigError, match=r"config\.dataset\.held_out_pairs: expected"):
        plan_sampling("teacher", settings, dataset)


def test_rows_of_a_training_lead_to_their_lags(dataset, medium):
    """A row is a window with its own lag, once pairs are held out."""
    settings = settings_of(
        dataset={"held_out_pairs": 2}, environment={"id": "ractd/Maze2d-Medium-v0"}
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
    held = held_out_pairs(medium, 4)
    asked = draw_queries(medium, held, kind, 50, 14.0, 3, 0)
    again = draw_queries(medium, held, kind, 50, 14.0, 3, 0)
    np.testing.assert_array_equal(asked.waypoints, again.waypoints)
    starts, goals = (regions_of(medium, xy) for xy in (asked.starts, asked.goals))
    assert held[starts, goals].all() == (kind == "held_out")
    assert held[starts, goals].any() == (kind == "held_out")
    for start, goal, waypoints in zip(*asked, strict=True):
        assert not medium.is_wall(np.stack([start, goal, *waypoints])).any()
        cells = (tuple(medium.xy_to_cell(xy).tolist()) for xy in (start, goal))
        path = np.array(shortest_path(medium, *cells))
        gaps = np.linalg.norm(waypoints[:, None] - medium.cell_to_xy(path), axis=-1)
        off = gaps.min(axis=1).max()
        assert off > 1.0 if kind == "detours" else off < 0.8


def test_a_ring_has_a_way_round_and_a_corridor_none():
    held = np.zeros((20, 20), bool)
    asked = draw_queries(RING, held, "detours", 5, 20.0, 3, 0)
    assert len(asked.goals) == 5
    corridor = MazeMap(np.array([[1] * 8, [1, *[0] * 6, 1], [1] * 8], bool), "corridor")
    with pytest.raises(
        ConfigError, match="corridor: expected 5 ways of kind 'detours'"
    ):
        draw_queries(corridor, held, "detours", 5, 20.0, 3, 0)


def test_a_plan_is_valid_if_it_passes_everything_and_no_wall(medium):
    held = held_out_pairs(medium, 4)
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
