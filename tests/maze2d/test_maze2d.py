"""D4RL's maze2d protocol: goals, starts, rewards, time limits, scores and errors."""

import math
import sys

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ractd_jax.data.episodes import build_episodes
from ractd_jax.data.origin import Origin, with_reference
from ractd_jax.data.sources import (
    RAW_SCORES,
    changed_environment,
    make_dataset,
    resolve_environment,
)
from ractd_jax.errors import ConfigError
from ractd_jax.settings import Environment, Settings
from ractd_jax.tasks import D4RL_RETURNS, maze2d
from ractd_jax.tasks.environments import make_environment
from ractd_jax.tasks.maze_map import MazeMap, check_free, maze_map
from ractd_jax.tasks.point_maze import MAZE2D, MAZES, maze_of_environment
from tests.maze2d.conftest import D4RL_MAPS, d4rl_goal, finite

pytest.importorskip("gymnasium_robotics")


# --- mazes


def test_walls_and_goal_are_d4rls(name, env):
    rows = D4RL_MAPS[name].split("/")
    walls = np.array([[cell == "#" for cell in row] for row in rows])
    np.testing.assert_array_equal(maze_map(name).walls, walls)
    assert D4RL_MAPS[name].count("G") == 1
    row, column = maze2d.GOAL_CELLS[name]
    assert rows[row][column] == "G"
    observation, _ = env.reset(seed=3)
    np.testing.assert_array_equal(observation[4:], d4rl_goal(name))


def test_maze_of_an_environment(name):
    word = MAZES[name].removeprefix("PointMaze_").removesuffix("-v3")
    same = [
        MAZE2D[name],
        MAZES[name],
        f"PointMaze_{word}Dense-v3",
        f"PointMaze_{word}-v4",
    ]
    if name != "umaze":
        same += [
            f"PointMaze_{word}_Diverse_{suffix}-v3"
            for suffix in ("G", "GR", "GDense", "GRDense")
        ]
    assert [maze_of_environment(one) for one in same] == [name] * len(same)


def test_registered_ids_have_the_walls_of_their_map():
    found = 0
    for environment_id, spec in gymnasium.registry.items():
        if (name := maze_of_environment(environment_id)) and "PointMaze" in spec.id:
            walls = np.array([[c == 1 for c in row] for row in spec.kwargs["maze_map"]])
            np.testing.assert_array_equal(walls, maze_map(name).walls)
            found += 1
    assert found >= 14


@pytest.mark.parametrize(
    "other",
    ["", "Hopper-v5", "PointMaze_Open-v3", "AntMaze_UMaze-v5", "Maze2d-UMaze-v0",
     "ractd/Maze2d-Huge-v0", "PointMaze_UMaze-v3x"],
)  # fmt: skip
def test_other_environments_have_no_maze(other):
    assert maze_of_environment(other) is None


# --- free positions


def test_refused_positions_are_named():
    medium = maze_map("medium")
    where = "expected a free position of maze medium (x in -4..4, y in -4..4), found "
    for xy, found in {
        (9.0, 0.0): "(9.0, 0.0), outside the maze",
        (0.0, -4): "(0.0, -4.0), outside the maze",
        (-3.5, 3.5): "(-3.5, 3.5), in a wall",
        (math.nan, 0.0): "(nan, 0.0), no position",
        (1.0,): "(1.0,), no position",
        ("a", 0): "('a', 0), no position",
    }.items():
        with pytest.raises(ConfigError) as caught:
            check_free(medium, xy, "start")
        assert str(caught.value) == f"start: {where}{found}"
    with pytest.raises(ConfigError, match="goal: .*None, no position"):
        check_free(medium, None, "goal")


@given(finite, finite, st.sampled_from(list(MAZES)))
def test_free_is_what_the_map_shows(x, y, name):
    """Of D4RL's letters: accepted unchanged in a free cell, else refused."""
    rows = D4RL_MAPS[name].split("/")
    row = math.floor(len(rows) / 2 - y)
    column = math.floor(x + len(rows[0]) / 2)
    inside = 0 <= row < len(rows) and 0 <= column < len(rows[0])
    maze = maze_map(name)
    if inside and rows[row][column] != "#":
        assert check_free(maze, (x, y), "goal").tolist() == [x, y]
        assert not maze.is_wall(np.array([x, y]))
    else:
        with pytest.raises(ConfigError, match=f"goal: .*of maze {name} .*found"):
            check_free(maze, (x, y), "goal")


def test_a_custom_map_is_used():
    maze = MazeMap(np.pad(np.zeros((1, 1), bool), 1, constant_values=True), "mine")
    assert check_free(maze, [0, 0], "start").dtype == np.float64
    with pytest.raises(ConfigError, match="maze mine .x in -1.5..1.5"):
        check_free(maze, [1, 0], "start")


# --- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": (9.0, 0.0)}, r"^start: .* found \(9.0, 0.0\), outside the maze$"),
        ({"goal": (-2.0, 2.0)}, r"^goal: .* of maze umaze .* in a wall$"),
        ({"start": (0, 1), "goal": 3}, "^goal: .* found 3, no position$"),
        ({"goal_cell": (1, 1)}, "^options: expected start or goal, found .'goal_cell'"),
    ],
)
def test_bad_options_are_refused(options, message):
    env = make_environment(Environment(MAZE2D["umaze"]))
    with pytest.raises(ConfigError, match=message):
        env.reset(seed=0, options=options)
    env.close()


def test_unknown_maze_is_refused():
    with pytest.raises(ConfigError, match=r"\['umaze', 'medium', 'large'\].*'huge'"):
        maze2d.Maze2d("huge")


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    with pytest.raises(ConfigError, match=r"pip install ractd_jax\[maze\]"):
        make_environment(Environment(MAZE2D["umaze"]))


# --- scores


def test_references_are_d4rls(name):
    low, high = D4RL_RETURNS[f"maze2d-{name}"]
    origin = with_reference(Origin(MAZE2D[name]))
    assert (origin.score_min, origin.score_max) == (low, high)
    assert origin.score_source == f"D4RL's reference returns of maze2d-{name}"
    assert with_reference(Origin(MAZES[name])) == Origin(MAZES[name])


def data_of(environment_id: str, **references):
    sizes = {"observations": (4, 6), "actions": (4, 2), "rewards": 4, "terminals": 4}
    fields = {field: np.zeros(size) for field, size in sizes.items()}
    fields["timeouts"] = np.arange(4) == 3
    episodes = build_episodes(fields, "a test")
    return make_dataset("a test", episodes, Origin(environment_id, **references))


def test_named_protocol_brings_its_references(name):
    """Over those of PointMaze data, which is paid otherwise; not over the user's."""
    low, high = D4RL_RETURNS[f"maze2d-{name}"]
    ours = Environment(MAZE2D[name])
    theirs = {"score_min": 1.0, "score_max": 2.0, "score_source": "the data"}
    for references in ({}, theirs):
        data = data_of(MAZES[name], **references)
        found = resolve_environment(Settings(environment=ours), data).environment
        assert (found.id, found.spec) == (MAZE2D[name], "")
        assert (found.score_min, found.score_max) == (low, high)
    given = Environment(MAZE2D[name], score_min=3.0, score_max=4.0)
    found = resolve_environment(Settings(environment=given), data).environment
    assert (found.score_min, found.score_max) == (3.0, 4.0)
    raw = resolve_environment(Settings(), data_of(MAZES[name])).environment
    assert (raw.id, raw.score_source) == (MAZES[name], RAW_SCORES)


def test_another_environment_for_a_checkpoint(name):
    low, high = D4RL_RETURNS[f"maze2d-{name}"]
    before = Environment("PointMaze_UMaze-v3", "{}", "all", 0.0, 100.0, RAW_SCORES)
    after = changed_environment(before, MAZE2D[name])
    assert (after.id, after.spec, after.flatten) == (MAZE2D[name], "", "all")
    assert (after.score_min, after.score_max) == (low, high)
    other = changed_environment(before, "PointMaze_Large-v3")
    assert (other.id, other.spec, other.score_max) == ("PointMaze_Large-v3", "", 100.0)
