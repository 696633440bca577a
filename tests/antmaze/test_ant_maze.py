"""D4RL's ant mazes: the body, the protocol, the family, gymnasium-robotics' ids."""

import itertools
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from ractd_jax.data.origin import origin_of_file
from ractd_jax.errors import ConfigError
from ractd_jax.settings import Environment
from ractd_jax.tasks import task_of
from ractd_jax.tasks.ant_maze import ANT_MAZES, DIRECTION, d4rl_map, robotics_map
from ractd_jax.tasks.d4rl_ant_maze import GOAL_CELLS, TIME_LIMITS
from ractd_jax.tasks.environments import (
    make_environment,
    recorded_spec,
    registered_spec,
    time_limit,
)
from ractd_jax.tasks.flatten import flatten_observations
from ractd_jax.tasks.maze_map import shortest_path
from tests.antmaze.conftest import D4RL_MAPS

pytest.importorskip("gymnasium_robotics")


# --- the body


def test_the_body_is_d4rls(env):
    """Torques up to 30 N m, 10 Hz, hips within 30 degrees, ankles 30 to 70."""
    model = env.unwrapped.ant.model
    np.testing.assert_array_equal(model.actuator_gear[:, 0], [30.0] * 8)
    np.testing.assert_array_equal(model.actuator_ctrlrange, [[-1.0, 1.0]] * 8)
    assert model.opt.timestep == 0.02
    assert env.unwrapped.ant.dt == pytest.approx(0.1)
    degrees = np.sort(np.abs(np.rad2deg(model.jnt_range[1:])), axis=1)
    np.testing.assert_allclose(degrees[::2], [[30, 30]] * 4, atol=1e-4)
    np.testing.assert_allclose(degrees[1::2], [[30, 70]] * 4, atol=1e-4)


def test_random_torques_do_not_turn_it_over(env):
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(100):
        observation, *_ = env.step(rng.uniform(-1, 1, 8))
        w, x, y, z = observation[3:7]
        assert 1 - 2 * (x * x + y * y) > 0.5  # the torso's up points up
        assert 0.2 < observation[2] < 1.0


def test_a_direction_pays_for_the_way_along_it():
    env = gymnasium.make(registered_spec(DIRECTION))
    observation, _ = env.reset(seed=3)
    assert observation.shape == env.observation_space.shape == (29,)
    assert time_limit(env) == 1000
    rng = np.random.default_rng(0)
    ant, directions = env.unwrapped.ant, []
    for _ in range(101):
        before, direction = ant.data.qpos[:2].copy(), observation[27:]
        observation, reward, *_ = env.step(rng.uniform(-1, 1, 8))
        way = ant.data.qpos[:2] - before
        assert reward == pytest.approx(way @ direction / 0.1)
        np.testing.assert_array_equal(observation[:27], ant.state_vector()[2:])
        directions.append(direction)
    assert len(np.unique(directions, axis=0)) == 2
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    env.close()


# --- the protocol


@pytest.mark.parametrize("name", ANT_MAZES)
def test_walls_start_and_goal_are_d4rls(name):
    """The start is the origin; x grows with the columns, y with the rows."""
    rows = D4RL_MAPS[name].split("/")
    walls = np.array([[cell == "#" for cell in row] for row in rows])
    maze = d4rl_map(name)
    np.testing.assert_array_equal(maze.walls, walls)
    assert rows[1][1] == "R"
    np.testing.assert_array_equal(maze.cell_to_xy(np.array((1, 1))), [0, 0])
    row, column = GOAL_CELLS[name]
    assert rows[row][column] == "G"
    centre = [4.0 * (column - 1), 4.0 * (row - 1)]
    np.testing.assert_array_equal(maze.cell_to_xy(np.array((row, column))), centre)
    env = make_environment(Environment(ANT_MAZES[name]))
    assert time_limit(env) == (700 if name == "umaze" else 1000) == TIME_LIMITS[name]
    starts, goals = [], []
    for seed in range(40):
        observation, _ = env.reset(seed=seed)
        starts.append(observation[:2])
        goals.append(env.unwrapped.goal - centre)
    env.close()
    assert np.abs(starts).max() <= 0.1
    assert 0.0 <= np.min(goals) and 1.0 < np.max(goals) <= 1.5
    correlations = np.corrcoef(np.transpose(starts), np.transpose(goals))[:2, 2:]
    assert np.abs(correlations).max() < 0.5


def test_an_observation_is_positions_and_velocities(env):
    observation, _ = env.reset(seed=1)
    data = env.unwrapped.ant.data
    for _ in range(2):
        expected = np.concatenate([data.qpos, data.qvel])
        np.testing.assert_array_equal(observation, expected)
        observation, *_ = env.step(np.ones(8))
    assert env.observation_space.shape == (29,)


def test_walls_stand_where_the_map_says(env):
    model = env.unwrapped.ant.model
    boxes = np.flatnonzero(model.geom_type == 6)  # mjGEOM_BOX
    maze = d4rl_map("umaze")
    assert len(boxes) == maze.walls.sum()
    assert maze.is_wall(model.geom_pos[boxes, :2]).all()
    np.testing.assert_array_equal(model.geom_size[boxes], [[2.0, 2.0, 1.0]] * 18)
    # Pushed against the wall to its left, the ant stays on this side of it.
    env.reset(seed=0)
    ant = env.unwrapped.ant
    for _ in range(20):
        velocity = ant.data.qvel.copy()
        velocity[0] = -3.0
        ant.set_state(ant.data.qpos.copy(), velocity)
        observation, *_ = env.step(np.zeros(8))
    assert -2.0 < observation[0] < -0.5


def test_an_arrival_is_paid_and_ends_the_episode(env):
    for gap, paid in ((0.3, 1.0), (0.8, 0.0)):
        env.reset(seed=0, options={"start": (8.0, 4.0), "goal": (8.0 + gap, 4.0)})
        _, reward, terminated, truncated, info = env.step(np.zeros(8))
        assert (reward, terminated, truncated) == (paid, paid == 1.0, False)
        assert info["success"] is (paid == 1.0)
    task = task_of(ANT_MAZES["umaze"])
    np.testing.assert_array_equal(task.success(np.array([0.0, 1.0])), [False, True])


def test_a_fall_ends_nothing(env):
    env.reset(seed=0)
    ant = env.unwrapped.ant
    positions = ant.data.qpos.copy()
    positions[2:7] = [0.4, 0.0, 1.0, 0.0, 0.0]  # on its back
    ant.set_state(positions, np.zeros(14))
    *_, terminated, truncated, _ = env.step(np.zeros(8))
    assert not terminated and not truncated


def test_an_episode_is_its_seeds(env):
    runs = []
    for seed in (5, 5, 6):
        observation, _ = env.reset(seed=seed)
        runs.append([observation, env.unwrapped.goal, env.step(np.ones(8))[0]])
    for one, again, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, again)
        assert not np.array_equal(one, other)
    observation, _ = env.reset()
    assert not np.array_equal(observation, runs[2][0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": (100.0, 0.0)}, "start: .*maze umaze .* found .100.0, 0.0., outside"),
        ({"start": (0.0, 4.0)}, "start: .*found .0.0, 4.0., in a wall"),
        ({"goal": "there"}, "goal: .*found there, no position"),
        ({"cell": (1, 1)}, r"options: expected start or goal, found \['cell'\]"),
    ],
)
def test_a_place_outside_the_maze_is_one_line(env, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        env.reset(options=options)
    assert "\n" not in str(caught.value)


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    with pytest.raises(ConfigError, match=r"pip install ractd_jax\[maze\]"):
        make_environment(Environment(ANT_MAZES["large"]))


def test_a_recorded_spec_is_the_registered_one():
    spec = registered_spec(ANT_MAZES["medium"])
    assert recorded_spec(EnvSpec.from_json(spec.to_json())) == ("", ())


# --- the families


def test_a_plan_through_a_wall_is_blocked():
    """Around the U is free, straight across is not; outside is a wall."""
    blocked = task_of(ANT_MAZES["umaze"]).blocked(ANT_MAZES["umaze"])
    corners = np.array([[0, 0], [8, 0], [8, 8], [0, 8]], np.float32)
    sides = [np.linspace(*ends, 8) for ends in itertools.pairwise(corners)]
    around = np.concatenate(sides)
    plans = np.zeros((3, len(around), 29), np.float32)
    plans[0, :, :2] = around
    plans[1, :, :2] = np.linspace([0, 0], [0, 8], len(around))
    plans[2, :, :2] = np.linspace([0, 0], [-9, 0], len(around))
    np.testing.assert_array_equal(blocked(plans), [False, True, True])
    # Gymnasium-robotics' plane has its origin in the middle, and y upwards.
    blocked = task_of("AntMaze_UMaze-v5").blocked("AntMaze_UMaze-v5")
    plans[..., :2] = plans[..., :2] * (1, -1) + (-4, 4)
    np.testing.assert_array_equal(blocked(plans), [False, True, True])
    assert task_of("AntMaze_Open-v5").blocked("AntMaze_Open-v5") is None


def test_robotics_map_is_its_environments():
    env = gymnasium.make(registered_spec("AntMaze_Medium-v5"))
    maze, cells = env.unwrapped.maze, np.argwhere(~d4rl_map("medium").walls)
    expected = [maze.cell_rowcol_to_xy(cell) for cell in cells]
    np.testing.assert_allclose(robotics_map("medium").cell_to_xy(cells), expected)
    env.close()


def test_an_arrived_ant_stands_at_its_goal(env):
    task = task_of(ANT_MAZES["umaze"])
    goals = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    states = np.asarray(task.goal_state(goals, 29))
    np.testing.assert_array_equal(task.goal_of(states, 2), goals)
    env.reset(seed=0)
    ant = env.unwrapped.ant
    ant.set_state(ant.init_qpos, np.zeros(14))
    for _ in range(100):  # an ant without torques comes to rest
        resting, *_ = env.step(np.zeros(8))
    np.testing.assert_allclose(states[0, 2:3], resting[2:3], atol=0.02)
    np.testing.assert_allclose(states[0, 7:15], resting[7:15], atol=0.05)
    np.testing.assert_allclose(states[0, 15:], resting[15:], atol=0.05)
    moving = np.ones((2, 29), np.float32)
    stopped = np.asarray(task.arrive(moving, np.array([True, False]), 2))
    np.testing.assert_array_equal(stopped[1], moving[1])
    np.testing.assert_array_equal(stopped[0, 2:], states[0, 2:])
    observation = np.arange(29.0)
    np.testing.assert_array_equal(task.velocity(observation), [15, 16])
    state, goal = task.split(observation, 0)
    assert (state.shape, goal.shape) == ((29,), (0,))


def test_scores_are_shares_of_arrivals():
    for environment_id in (*ANT_MAZES.values(), "AntMaze_Large_Diverse_GR-v4"):
        reference = task_of(environment_id).reference(environment_id)
        assert (reference.low, reference.high) == (0.0, 1.0)
        assert reference.replaces is environment_id.startswith("ractd/")
    assert task_of("AntMaze_UMazeDense-v5").reference("AntMaze_UMazeDense-v5") is None


@pytest.mark.parametrize(
    ("name", "environment_id"),
    [
        ("antmaze-umaze-diverse-v2.hdf5", ANT_MAZES["umaze"]),
        ("antmaze-medium-play-v2.hdf5", ANT_MAZES["medium"]),
        (
            "Ant_maze_hardest-maze_noisy_multistart_True_multigoal_False_sparse_fixed"
            ".hdf5",
            ANT_MAZES["large"],
        ),
        ("Ant_maze_big-maze_noisy_multistart_True_sparse.hdf5", ANT_MAZES["medium"]),
        ("antmaze-ultra-v0.hdf5", ""),
    ],
)
def test_the_environment_of_a_file(name, environment_id):
    origin = origin_of_file(name)
    assert origin.environment_id == environment_id
    assert (origin.score_min, origin.score_max) == (0.0, 1.0)


# --- gymnasium-robotics' Dict


@pytest.mark.parametrize(("rule", "size"), [("maze", 29), ("maze_goal", 31)])
def test_the_rules_of_mazes_keep_x_and_y(rule, size):
    options = {"include_cfrc_ext_in_observation": False}
    spec = registered_spec("AntMaze_UMaze-v5")
    spec = EnvSpec.from_json(spec.to_json())
    spec.kwargs |= options
    settings = Environment("AntMaze_UMaze-v5", spec=spec.to_json(), flatten=rule)
    env = make_environment(settings)
    observation, _ = env.reset(seed=0)
    assert observation.shape == env.observation_space.shape == (size,)
    ant = env.unwrapped.ant_env.data
    np.testing.assert_array_equal(observation[:29], [*ant.qpos, *ant.qvel])
    np.testing.assert_array_equal(observation[29:], env.unwrapped.goal[: size - 29])
    env.close()


def test_plans_of_states_leave_the_goal_out():
    """The data by `maze` where the environment shows the goal as well."""
    from ractd_jax.data.sources import _flatten_rule
    from ractd_jax.settings import from_mapping

    mapping = {"plan": {"kind": "states"}, "environment": {"flatten": "maze_goal"}}
    assert _flatten_rule(from_mapping(mapping)) == "maze"
    mapping["plan"]["kind"] = "actions"
    assert _flatten_rule(from_mapping(mapping)) == "maze_goal"
    with pytest.raises(KeyError):
        flatten_observations({"observation": np.zeros((2, 3))}, "maze")


def test_paths_around_the_u():
    path = shortest_path(d4rl_map("umaze"), (1, 1), (3, 1))
    assert path == [(1, 1), (1, 2), (1, 3), (2, 3), (3, 3), (3, 2), (3, 1)]
