"""Episodes of D4RL's maze2d protocol: starts, rewards, limits, the ball."""

import math
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from ractd_jax.settings import Environment
from ractd_jax.tasks import maze2d
from ractd_jax.tasks.environments import make_environment
from ractd_jax.tasks.maze2d import maze2d_reward, register_maze2d
from ractd_jax.tasks.maze_map import maze_map
from ractd_jax.tasks.point_maze import MAZE2D, MAZES
from tests.maze2d.conftest import d4rl_goal, finite

pytest.importorskip("gymnasium_robotics")
LIMITS = {"umaze": 300, "medium": 600, "large": 800}
REST = np.zeros(2, np.float32)


def episode(env, seed: int, options=None) -> np.ndarray:
    """[301, 7] observations and rewards under random actions of a fixed stream."""
    actions = np.random.default_rng(0).uniform(-1, 1, (300, 2)).astype(np.float32)
    rows = [[*env.reset(seed=seed, options=options)[0], 0.0]]
    for action in actions:
        observation, reward, *_ = env.step(action)
        rows.append([*observation, reward])
    return np.array(rows)


# --- episodes


def test_registered_and_flat(name, env):
    """State and goal, by the rule auto; the Dict and the actions of PointMaze."""
    assert env.spec.id == MAZE2D[name]
    assert env.observation_space.shape == (6,)
    register_maze2d()
    ours = gymnasium.make(MAZE2D[name])  # its checker finds nothing either
    theirs = gymnasium.make(MAZES[name])
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    observation, _ = ours.reset(seed=0)
    assert ours.observation_space.contains(observation)
    state = observation["observation"]
    np.testing.assert_array_equal(observation["achieved_goal"], state[:2])
    np.testing.assert_array_equal(env.reset(seed=0)[0][:4], state)
    ours.close()
    theirs.close()


def test_time_limit_and_no_termination(name, env):
    """A ball at rest on the goal is paid at each step until the time is over."""
    env.reset(seed=0, options={"start": d4rl_goal(name)})
    total, steps, truncated = 0.0, 0, False
    while not truncated:
        _, reward, terminated, truncated, _ = env.step(REST)
        assert not terminated
        total, steps = total + reward, steps + 1
    assert (steps, total) == (LIMITS[name], LIMITS[name])


@pytest.mark.parametrize(("distance", "paid"), [(0.49, 1.0), (0.51, 0.0)])
def test_radius_of_the_goal(name, env, distance, paid):
    """One step at up to 0.4 m/s moves the ball by 4 mm."""
    goal = d4rl_goal(name)
    beside = maze_map(name).free_cells - np.array(maze2d.GOAL_CELLS[name])
    row, column = beside[np.abs(beside).sum(axis=1) == 1][0]
    start = goal + distance * np.array([column, -row])
    env.reset(seed=0, options={"start": start})
    observation, reward, *_ = env.step(REST)
    assert abs(math.dist(observation[:2], goal) - distance) < 0.004
    assert reward == paid


def test_a_custom_goal_moves_the_reward(name, env):
    centres = maze_map(name).cell_to_xy(maze_map(name).free_cells)
    far = centres[np.linalg.norm(centres - d4rl_goal(name), axis=1).argmax()]
    place = far + [0.1, -0.05]
    observation, _ = env.reset(seed=0, options={"start": far, "goal": place})
    np.testing.assert_array_equal(observation[:2], far)
    np.testing.assert_array_equal(observation[4:], place)
    assert np.abs(observation[2:4]).max() > 0
    observation, reward, *_ = env.step(REST)
    np.testing.assert_array_equal(observation[4:], place)
    assert reward == 1
    # For one episode only.
    observation, _ = env.reset()
    np.testing.assert_array_equal(observation[4:], d4rl_goal(name))


@given(st.lists(st.tuples(finite, finite), min_size=1), st.tuples(finite, finite))
def test_reward_is_of_the_distance(positions, goal):
    rewards = maze2d_reward(np.array(positions), np.array(goal))
    expected = [float(np.hypot(x - goal[0], y - goal[1]) <= 0.5) for x, y in positions]
    near = [abs(math.dist(xy, goal) - 0.5) < 1e-9 for xy in positions]
    np.testing.assert_array_equal(np.where(near, expected, rewards), expected)


def test_rewards_are_those_of_the_positions(name, env):
    rows = episode(env, 1, {"start": d4rl_goal(name)})
    expected = maze2d_reward(rows[1:, :2], d4rl_goal(name))
    assert 0 < expected.sum()
    np.testing.assert_array_equal(rows[1:, 6], expected)


def test_seed_decides(name, env):
    """Whatever was played before, and in another environment too."""
    first = episode(env, 5)
    other = make_environment(Environment(MAZE2D[name]))
    np.testing.assert_array_equal(episode(other, 5), first)
    np.testing.assert_array_equal(episode(env, 5), first)
    assert not np.array_equal(episode(env, 6)[0], first[0])
    # The next start of the same stream is another, and is reproduced as well.
    env.reset(seed=5)
    other.reset(seed=5)
    following = env.reset()[0]
    np.testing.assert_array_equal(following, other.reset()[0])
    assert not np.array_equal(following, first[0, :6])
    # A chosen start leaves the drawn velocity as it was.
    chosen = env.reset(seed=5, options={"start": d4rl_goal(name)})[0]
    np.testing.assert_array_equal(chosen[2:4], first[0, 2:4])
    other.close()


def test_starts_are_uniform_over_the_free_cells(name, env):
    """Cells by chi-square, offsets and velocities by Kolmogorov and Smirnov."""
    maze = maze_map(name)
    cells = maze.free_cells
    env.reset(seed=0)
    starts = np.array([env.reset()[0][:4] for _ in range(40 * len(cells))])
    assert not maze.is_wall(starts[:, :2]).any()
    found = maze.xy_to_cell(starts[:, :2])
    counts = (found[:, None] == cells).all(axis=-1).sum(axis=0)
    assert counts.sum() == len(starts)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    offsets = (starts[:, :2] - maze.cell_to_xy(found)).ravel()
    assert np.abs(offsets).max() <= 0.1 + 1e-12
    assert scipy.stats.kstest(offsets, "uniform", (-0.1, 0.2)).pvalue > 1e-3
    assert scipy.stats.kstest(starts[:, 2:].ravel(), "norm", (0, 0.1)).pvalue > 1e-3


def test_ball_is_point_mazes(name):
    """From the same state, the same actions give the same states, walls included."""
    register_maze2d()
    ours = gymnasium.make(MAZE2D[name]).unwrapped
    theirs = gymnasium.make(MAZES[name]).unwrapped
    observation, _ = ours.reset(seed=2)
    theirs.reset(seed=2)
    ball = theirs.point_env
    ball.init_qpos[:], ball.init_qvel[:] = np.split(observation["observation"], 2)
    ball.reset()
    rng, touched = np.random.default_rng(2), False
    for _ in range(10):
        push = rng.uniform(-1, 1, 2).astype(np.float32)
        for _ in range(30):
            mine, yours = ours.step(push)[0], theirs.step(push)[0]
            np.testing.assert_array_equal(mine["observation"], yours["observation"])
            touched |= ball.data.ncon > 1  # the floor is one
    assert touched
    ours.close()
    theirs.close()


def test_largest_speed_is_that_of_d4rls_files():
    env = make_environment(Environment(MAZE2D["large"]))
    env.reset(seed=0, options={"start": (-4.5, 1.0)})
    push = np.array([1, 0], np.float32)
    speeds = [env.step(push)[0][2] for _ in range(60)]
    assert max(speeds) == pytest.approx(5.2262554, abs=1e-6)
    env.close()


def test_no_file_stays_behind(monkeypatch, tmp_path):
    """PointMaze leaves its model in the folder for temporary files; we do not."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make_environment(Environment(MAZE2D["umaze"])).close()
    assert list(Path(tmp_path).iterdir()) == []
