"""Environment families: found by an id or a name, and what is true of each."""

import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax.errors import ConfigError
from ractd_jax.tasks import (
    D4RL_RETURNS,
    D4RLKitchen,
    Kitchen,
    Locomotion,
    Maze2d,
    PointMaze,
    Task,
    get_task,
    register,
    task_of,
)
from ractd_jax.tasks.point_maze import MAZE2D, MAZES


@pytest.mark.parametrize(
    ("environment_id", "family", "reference"),
    [
        ("Hopper-v5", Locomotion, "hopper"),
        ("Walker2d-v4", Locomotion, "walker2d"),
        ("HalfCheetah-v5", Locomotion, "halfcheetah"),
        ("FrankaKitchen-v1", Kitchen, "kitchen"),
        ("ractd/Kitchen-v0", D4RLKitchen, "kitchen"),
        ("ractd/Kitchen-Mixed-Goal-v0", D4RLKitchen, "kitchen"),
        ("PointMaze_UMaze-v3", PointMaze, None),
        ("PointMaze_Large_Diverse_GRDense-v3", PointMaze, None),
        ("ractd/Maze2d-Large-v0", Maze2d, "maze2d-large"),
        ("Pendulum-v1", Task, None),
        ("NotAHopper-v5", Task, None),
        ("", Task, None),
    ],
)
def test_a_family_is_found_by_id_and_by_name(environment_id, family, reference):
    task = task_of(environment_id)
    assert type(task) is family
    assert get_task(task.name) is task
    found = task.reference(environment_id)
    if reference is None:
        assert found is None
    else:
        assert (found.low, found.high) == D4RL_RETURNS[reference]
        assert reference in found.source
        assert found.replaces is (family is Maze2d)


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match="tasks.register.*found 'pendulum'"):
        get_task("pendulum")


def test_the_newest_family_of_an_id_wins(monkeypatch):
    monkeypatch.setattr("ractd_jax.tasks._TASKS", dict(_tasks()))

    class Jumper(Locomotion):
        name = "jumper"
        pattern = r"Hopper-v5"

    register(Jumper())
    assert task_of("Hopper-v5").name == "jumper"
    assert task_of("Walker2d-v5").name == "locomotion"


def _tasks():
    from ractd_jax import tasks

    return tasks._TASKS


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_states_and_goals_of_a_ball(array):
    """A goal is a position; a ball that has arrived is at rest there."""
    task = PointMaze()
    seen = array(np.arange(12, dtype=np.float32).reshape(2, 6))
    states, goals = task.split(seen, 2)
    np.testing.assert_array_equal(states, [[0, 1, 2, 3], [6, 7, 8, 9]])
    np.testing.assert_array_equal(goals, [[4, 5], [10, 11]])
    np.testing.assert_array_equal(task.goal_of(states, 2), [[0, 1], [6, 7]])
    np.testing.assert_array_equal(
        task.goal_state(goals, 4), [[4, 5, 0, 0], [10, 11, 0, 0]]
    )
    arrived = array(np.array([False, True]))
    np.testing.assert_array_equal(
        task.arrive(states, arrived, 2), [[0, 1, 2, 3], [6, 7, 0, 0]]
    )
    np.testing.assert_array_equal(task.position(states), [[0, 1], [6, 7]])
    np.testing.assert_array_equal(task.velocity(states), [[2, 3], [8, 9]])
    assert task.success(np.array([0.0, 2.0])).tolist() == [False, True]


def test_what_is_in_the_way_is_known_of_mazes_only():
    pytest.importorskip("gymnasium_robotics")
    wall = np.float32([[[-1.0, 1.0, 0, 0], [-1.0, -1.0, 0, 0]]])
    free = np.float32([[[-1.0, 1.0, 0, 0], [1.0, 1.0, 0, 0]]])
    for environment_id in (MAZES["umaze"], MAZE2D["umaze"]):
        blocked = task_of(environment_id).blocked(environment_id)
        assert blocked(np.concatenate([wall, free])).tolist() == [True, False]
    assert task_of("Hopper-v5").blocked("Hopper-v5") is None
    assert task_of("PointMaze_Open-v3").blocked("PointMaze_Open-v3") is None
