"""D4RL's driver: what it records, what it scores, and what D4RL's 100 points are."""

import json
import re

import gymnasium
import h5py
import numpy as np
import pytest

from ractd_jax import presets
from ractd_jax.pipelines.maze_controller import rate_controller
from ractd_jax.presets.mazes import get_maze2d
from ractd_jax.recording import point_maze
from ractd_jax.recording.generate import dataset_id, generate_dataset
from ractd_jax.recording.point_maze import (
    DRIVERS,
    KINDS,
    WaypointController,
    pd_action,
    record_run,
    recording_spec,
)
from ractd_jax.tasks.base import D4RL_RETURNS
from ractd_jax.tasks.maze2d import GOAL_CELLS, TIME_LIMITS, register_maze2d
from ractd_jax.tasks.maze_map import maze_map
from ractd_jax.tasks.point_maze import MAZE2D
from tests.conftest import run_main
from tests.point_maze.conftest import SEED

pytest.importorskip("gymnasium_robotics")
D4RL = DRIVERS["-d4rl"]
STEPS = 1500


@pytest.fixture(scope="module")
def env():
    env = gymnasium.make(recording_spec("medium-d4rl"))
    yield env
    env.close()


@pytest.fixture(scope="module")
def run(env):
    return record_run(env, maze_map("medium"), STEPS, SEED, D4RL)


def test_a_goal_is_replaced_within_10_cm(run):
    arrived = np.linalg.norm(run.observations[1:, :2] - run.goals[:-1], axis=1) < 0.1
    changed = (run.goals[1:] != run.goals[:-1]).any(axis=1)
    np.testing.assert_array_equal(arrived, changed)
    assert arrived.sum() >= 5


def test_goals_lie_near_centres(run):
    """But the first, which is the environment's own."""
    maze = maze_map("medium")
    goals = np.unique(run.goals, axis=0)
    offsets = np.abs(goals - maze.cell_to_xy(maze.xy_to_cell(goals))).max(axis=1)
    assert (offsets > 0.1).sum() <= 1
    assert offsets.max() <= 0.25 and not maze.is_wall(goals).any()


def test_rewards_are_the_environments(run):
    """1 for each step near the goal, which D4RL's driver does not leave at once."""
    distance = np.linalg.norm(run.observations[1:, :2] - run.goals[:-1], axis=1)
    np.testing.assert_array_equal(run.rewards, distance <= 0.45)
    assert run.rewards.sum() > 5 * (run.goals[1:] != run.goals[:-1]).any(axis=1).sum()


def test_actions_have_no_noise(run):
    controller = WaypointController(maze_map("medium"), D4RL.waypoint_noise, SEED)
    for step, state in enumerate(run.observations[:-1].astype(float)):
        if step == 0 or (run.goals[step] != run.goals[step - 1]).any():
            controller.set_goal(state[:2], run.goals[step].astype(float))
        expected = controller.act(state)
        np.testing.assert_allclose(run.actions[step], expected, atol=1e-5)


def test_a_short_run_begins_a_long_one(run, env):
    short = record_run(env, maze_map("medium"), 400, SEED, D4RL)
    np.testing.assert_array_equal(short.actions, run.actions[:400])
    np.testing.assert_array_equal(short.goals, run.goals[:401])


def test_waypoints_lie_within_10_cm_of_centres():
    maze = maze_map("large")
    controller = WaypointController(maze, D4RL.waypoint_noise)
    start, goal = maze.cell_to_xy(maze.free_cells[[0, -1]])
    controller.set_goal(start, goal)
    waypoints = np.array(controller._waypoints)
    offsets = np.abs(waypoints - maze.cell_to_xy(maze.xy_to_cell(waypoints)))
    assert 0.05 < offsets[:-1].max() <= 0.1
    assert offsets[-1].max() == 0.0


def test_its_name_says_it(tmp_path, monkeypatch):
    """In the dataset's id, its description, and the preset that trains on it."""
    monkeypatch.setattr(point_maze, "RUN_STEPS", 100)
    path, root = tmp_path / "umaze.hdf5", str(tmp_path / "root")
    made = generate_dataset(
        "pointmaze-umaze-d4rl", 100, SEED, root=root, hdf5=path, num_workers=1
    )
    assert made.dataset_id == "ractd/pointmaze/umaze-d4rl-v0"
    with h5py.File(path) as file:
        about = json.loads(file.attrs["ractd_jax"])["behaviour"]
    assert about["gains"] == [10.0, 1.0]
    assert (about["action_noise"], about["arrival"]) == (0.0, 0.1)
    config = get_maze2d("umaze", "cpu", "d4rl")
    assert config.dataset.id == made.dataset_id == dataset_id(config.task)
    plain = presets.get_config("maze2d_umaze")
    assert config.plan == plain.plan and config.network == plain.network


@pytest.mark.parametrize("kind", ["umaze", "umaze-d4rl"])
def test_both_drivers_score_the_same(kind):
    """The gains are the same; the noise of the waypoints costs a point."""
    row = rate_controller(f"pointmaze-{kind}", 10, SEED)
    assert row["reached_share"] == 1.0
    assert 130 < row["score_mean"] < 170


def test_the_main_prints_the_score():
    done = run_main("rate_behaviour", "--task=pointmaze-umaze-d4rl", "--num_episodes=2")
    assert done.stdout.startswith("pointmaze-umaze-d4rl: score 1")
    assert "goal reached in 100% of 2 episodes" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--path, --task: expected one of them, found none"),
        (("--path=a.npz", "--task=pointmaze-umaze"), "--path, --task: .* found both"),
        (("--task=umaze",), "task: expected one of pointmaze-umaze, .*'umaze'"),
    ],
)
def test_bad_flags_are_one_line(arguments, message):
    done = run_main("rate_behaviour", *arguments, check=False)
    assert done.returncode != 0
    line = done.stderr.strip().splitlines()[-1]
    assert re.search(message, line)


@pytest.mark.parametrize("name", MAZE2D)
def test_d4rls_100_points_are_a_straight_line(name):
    """D4RL's reference controller plans in its first episode only.

    After that it steers straight at the goal and stays at the first wall, in over a
    third of the episodes.
    """
    register_maze2d()
    env = gymnasium.make(MAZE2D[name]).unwrapped
    maze = maze_map(name)
    # D4RL's places lie so far off the centres.
    shift, rng = np.array([0.2, -0.2]), np.random.default_rng(0)
    goal = maze.cell_to_xy(GOAL_CELLS[name]) + shift
    cells = maze.cell_to_xy(maze.free_cells) + shift
    starts = np.repeat(cells, max(1, 40 // len(cells)), axis=0)
    returns = np.zeros(len(starts))
    for i, start in enumerate(starts + rng.uniform(-0.1, 0.1, starts.shape)):
        seen, _ = env.reset(seed=i, options={"start": start, "goal": goal})
        for _ in range(TIME_LIMITS[name]):
            action = pd_action(seen["observation"], goal)
            seen, reward, *_ = env.step(action)
            returns[i] += reward
    env.close()
    error = returns.std() / np.sqrt(len(returns))
    assert abs(returns.mean() - D4RL_RETURNS[f"maze2d-{name}"][1]) < 2 * error
    assert 0.3 < np.mean(returns == 0) < 0.65


def test_every_maze_has_both_drivers():
    assert len(KINDS) == 6
    assert {maze for maze, _ in KINDS.values()} == set(MAZE2D)
