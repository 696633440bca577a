"""The mazes' walls, the driver that records in them, and the datasets it makes."""

import sys

import numpy as np
import pytest
import scipy.sparse.csgraph
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ractd_jax.errors import ConfigError
from ractd_jax.recording.generate import generate_dataset
from ractd_jax.recording.point_maze import (
    WaypointController,
    pd_action,
    recording_spec,
)
from ractd_jax.tasks.maze_map import MazeMap, evaluation_spec, maze_map, shortest_path
from tests.point_maze.conftest import SEED

pytest.importorskip("gymnasium_robotics")


# --- walls


def test_map_is_the_environment(name, maze, env):
    """Every cell: wall or free, its centre, and the cell that the centre lies in."""
    world = env.unwrapped.maze
    cells = np.argwhere(np.ones_like(maze.walls))
    assert maze.walls.shape == (world.map_length, world.map_width)
    centres = maze.cell_to_xy(cells)
    for cell, centre in zip(cells, centres, strict=True):
        np.testing.assert_array_equal(centre, world.cell_rowcol_to_xy(cell))
        assert maze.is_wall(centre) == (world.maze_map[cell[0]][cell[1]] == 1)
    np.testing.assert_array_equal(maze.xy_to_cell(centres), cells)
    np.testing.assert_array_equal(maze.xy_to_cell(centres + [0.49, -0.49]), cells)
    free = maze.cell_to_xy(maze.free_cells)
    np.testing.assert_array_equal(free, world.unique_goal_locations)
    assert len(free) == {"umaze": 7, "medium": 26, "large": 46}[name]


def test_outside_is_wall(maze):
    far = [[1e6, 0], [-1e6, 0], [0, 1e6], [0, -1e6]]
    assert maze.is_wall(far).all()


def test_unknown_maze_is_refused():
    for function in (maze_map, evaluation_spec, recording_spec):
        with pytest.raises(
            ConfigError, match=r"\['umaze', 'medium', 'large'\].*'huge'"
        ):
            function("huge")


def test_missing_extra_is_named(monkeypatch, tmp_path):
    """Before anything is recorded or made."""
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    with pytest.raises(ConfigError, match=r"pip install ractd_jax\[maze\]"):
        generate_dataset("pointmaze-umaze", 10, 0, hdf5=tmp_path / "new" / "x.hdf5")
    assert list(tmp_path.iterdir()) == []


# --- the planner


def cell_graph(maze: MazeMap) -> tuple[list, np.ndarray]:
    """(free cells, [F, F] steps between any two), by Dijkstra's algorithm."""
    cells = maze.free_cells
    beside = np.abs(cells[:, None] - cells).sum(axis=-1) == 1
    steps = scipy.sparse.csgraph.shortest_path(beside.astype(float), unweighted=True)
    return [tuple(cell.tolist()) for cell in cells], steps


def assert_shortest(maze: MazeMap, cells: list, steps: np.ndarray, i: int, j: int):
    path = shortest_path(maze, cells[i], cells[j])
    assert (path[0], path[-1]) == (cells[i], cells[j])
    assert len(path) == steps[i, j] + 1
    assert not maze.walls[tuple(np.transpose(path))].any()
    assert (np.abs(np.diff(path, axis=0)).sum(axis=1) == 1).all()


def test_every_path_of_the_mazes_is_a_shortest(maze):
    cells, steps = cell_graph(maze)
    assert np.isfinite(steps).all()
    for i in range(len(cells)):
        for j in range(0, len(cells), 3):
            assert_shortest(maze, cells, steps, i, j)


@settings(max_examples=60)
@given(st.data())
def test_paths_of_any_maze(data):
    """Shortest, or refused when the cells are not connected or are walls."""
    shape = data.draw(st.tuples(st.integers(3, 7), st.integers(3, 8)))
    size = shape[0] * shape[1]
    inner = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    maze = MazeMap(np.pad(np.reshape(inner, shape), 1, constant_values=True))
    cells, steps = cell_graph(maze)
    assume(cells)
    i, j = (data.draw(st.integers(0, len(cells) - 1)) for _ in range(2))
    if np.isfinite(steps[i, j]):
        assert_shortest(maze, cells, steps, i, j)
    else:
        with pytest.raises(ValueError, match="no path"):
            shortest_path(maze, cells[i], cells[j])
    for start, goal in (((0, 0), cells[i]), (cells[i], (0, 0)), ((0, 0), (0, 0))):
        with pytest.raises(ValueError, match="no path"):
            shortest_path(maze, start, goal)


# --- the controller


def test_waypoint_is_always_in_sight(maze):
    """Wherever the ball is, also when it was pushed away, no wall is in between."""
    rng = np.random.default_rng(SEED)
    centres = maze.cell_to_xy(maze.free_cells)
    along = np.linspace(0, 1, 50)[:, None]
    controller = WaypointController(maze)
    for _ in range(30):
        goal = rng.choice(centres) + rng.uniform(-0.25, 0.25, 2)
        controller.set_goal(rng.choice(centres), goal)
        for _ in range(10):
            position = rng.choice(centres) + rng.uniform(-0.4, 0.4, 2)
            waypoint = controller.waypoint(position)
            assert not maze.is_wall(position + along * (waypoint - position)).any()


def test_waypoints_lead_to_the_goal(maze):
    """A ball that is put on each waypoint passes the path's cells, in order."""
    start, goal = map(tuple, maze.free_cells[[0, -1]].tolist())
    path = shortest_path(maze, start, goal)
    target = maze.cell_to_xy(goal) + [0.2, -0.1]
    controller = WaypointController(maze)
    position = maze.cell_to_xy(start)
    controller.set_goal(position, target)
    for cell in path[1:-1]:
        position = controller.waypoint(position)
        np.testing.assert_array_equal(position, maze.cell_to_xy(cell))
    for _ in range(3):
        position = controller.waypoint(position)
        np.testing.assert_array_equal(position, target)


def test_action_by_hand():
    """10 per metre against 1 per metre a second, within [-1, 1]."""
    observations = np.array([[1.0, 2.0, 0.5, -3.0], [0.0, 0.0, 0.1, 0.0]])
    targets = np.array([[1.1, 2.1], [0.05, 0.0]])
    np.testing.assert_allclose(pd_action(observations, targets), [[0.5, 1], [0.4, 0]])
