"""Recordings of the mazes' controller, and the datasets that they become."""

import json
import os
import subprocess
import sys

import gymnasium
import h5py
import minari
import numpy as np
import pytest

from ractd_jax.errors import DataError
from ractd_jax.recording import point_maze
from ractd_jax.recording.generate import generate_dataset
from ractd_jax.recording.point_maze import (
    WaypointController,
    record_maze,
    record_run,
    recording_spec,
)
from ractd_jax.tasks.maze_map import maze_map
from tests.point_maze.conftest import SEED, STEPS

pytest.importorskip("gymnasium_robotics")
ARRAYS = ("observations", "actions", "rewards", "goals")
REACH = 0.45  # m, from a goal at which the environment pays


@pytest.fixture(scope="module")
def run(env, maze):
    return record_run(env, maze, STEPS, SEED)


def same_runs(one, other) -> bool:
    return [run.seed for run in one] == [run.seed for run in other] and all(
        np.array_equal(getattr(a, field), getattr(b, field))
        for a, b in zip(one, other, strict=True)
        for field in ARRAYS
    )


# --- recording


def test_recorded_run(run):
    """One more observation and goal than steps; cut at its end, never terminated."""
    assert run.observations.shape == (STEPS + 1, 4)
    assert run.goals.shape == (STEPS + 1, 2)
    assert run.actions.shape == (STEPS, 2)
    assert run.rewards.shape == (STEPS,)
    assert {getattr(run, field).dtype for field in ARRAYS} == {np.dtype(np.float32)}
    assert np.abs(run.actions).max() <= 1
    assert (run.terminated, run.truncated, run.seed) == (False, True, SEED)


def test_replay_is_bit_exact(run, env):
    """The recorded actions through ``env.step``, from the reset of the run's seed."""
    observation, _ = env.reset(seed=SEED)
    for step, action in enumerate(run.actions):
        state, goal = observation["observation"], observation["desired_goal"]
        np.testing.assert_array_equal(run.observations[step], state.astype(np.float32))
        # An observation still shows the goal that was in force as the step began.
        before = run.goals[max(step - 1, 0)]
        np.testing.assert_array_equal(before, goal.astype(np.float32))
        observation, reward, terminated, truncated, _ = env.step(action)
        assert run.rewards[step] == reward
        assert not terminated and not truncated
        paid = env.unwrapped.compute_reward(
            observation["achieved_goal"], run.goals[step], {}
        )
        assert paid == reward
    final = observation["observation"].astype(np.float32)
    np.testing.assert_array_equal(run.observations[-1], final)


def test_ball_stays_out_of_the_walls(run, maze):
    """Its middle keeps most of the ball's radius of 0.1 m away from them."""
    positions = run.observations[:, :2]
    for shift in ([0, 0], [0.07, 0], [-0.07, 0], [0, 0.07], [0, -0.07]):
        assert not maze.is_wall(positions + np.float32(shift)).any()


def test_goals_are_reached_and_replaced(run, name, maze):
    """A reward is an arrival; the next goal is another, free and not yet reached."""
    assert run.rewards.sum() >= {"umaze": 20, "medium": 12, "large": 7}[name]
    assert set(run.rewards.tolist()) == {0.0, 1.0}
    distance = np.linalg.norm(run.observations[1:, :2] - run.goals[:-1], axis=1)
    np.testing.assert_array_equal(run.rewards, distance <= REACH)
    changed = (run.goals[1:] != run.goals[:-1]).any(axis=1)
    np.testing.assert_array_equal(changed, run.rewards > 0)
    assert not maze.is_wall(run.goals).any()
    assert (np.linalg.norm(run.observations[:, :2] - run.goals, axis=1) > REACH).all()
    offsets = run.goals - maze.cell_to_xy(maze.xy_to_cell(run.goals))
    assert 0.05 < np.abs(offsets).max() <= 0.25


def test_actions_are_the_controllers_with_noise(run, maze):
    """Where it would do nothing: normal with deviation 0.5, clipped to [-1, 1]."""
    controller, own = WaypointController(maze), []
    for step, observation in enumerate(run.observations[:-1]):
        if step == 0 or run.rewards[step - 1]:
            controller.set_goal(observation[:2], run.goals[step])
        own.append(controller.act(observation))
    own, idle = np.array(own), np.abs(own) < 0.1
    assert idle.sum() > 100
    assert np.std(run.actions[idle]) == pytest.approx(0.47, abs=0.07)
    limit = (np.abs(own) == 1) & (np.abs(run.actions) < 1)
    assert (np.sign(own) * run.actions)[limit].mean() > 0.5


def test_seed_decides_and_a_short_run_begins_a_long_one(run, env, maze):
    short = record_run(env, maze, 200, SEED)
    for field in ("actions", "rewards"):
        np.testing.assert_array_equal(getattr(short, field), getattr(run, field)[:200])
    np.testing.assert_array_equal(short.observations, run.observations[:201])
    np.testing.assert_array_equal(short.goals, run.goals[:201])
    other = record_run(env, maze, 200, SEED + 1)
    assert not np.array_equal(short.actions[0], other.actions[0])
    assert not np.array_equal(short.goals[0], other.goals[0])


@pytest.mark.slow
def test_recording_does_not_depend_on_the_workers(monkeypatch):
    """Exactly the steps asked for, in equal runs of consecutive seeds."""
    monkeypatch.setattr(point_maze, "RUN_STEPS", 300)
    one, two = (list(record_maze("umaze", 1001, SEED, workers)) for workers in (1, 2))
    assert [len(run.rewards) for run in one] == [251, 250, 250, 250]
    assert [run.seed for run in one] == [SEED, SEED + 1, SEED + 2, SEED + 3]
    assert same_runs(one, two)
    env = gymnasium.make(recording_spec("umaze"))
    maze = maze_map("umaze")
    assert same_runs(one[1:2], [record_run(env, maze, 250, SEED + 1)])
    env.close()


# --- whole datasets


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder, summary, runs) of a dataset in root/ and not/there/medium.hdf5."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(point_maze, "RUN_STEPS", 250)
        summary = generate_dataset(
            "pointmaze-medium",
            500,
            SEED,
            root=str(folder / "root"),
            hdf5=folder / "not" / "there" / "medium.hdf5",
            num_workers=1,
        )
    env = gymnasium.make(recording_spec("medium"))
    maze = maze_map("medium")
    expected = [record_run(env, maze, 250, SEED + i) for i in range(2)]
    env.close()
    return folder, summary, expected


def test_summary(made):
    _, summary, runs = made
    assert summary.dataset_id == "ractd/pointmaze/medium-v0"
    assert (summary.episodes, summary.transitions) == (2, 500)
    assert summary.return_mean == np.mean([run.rewards.sum() for run in runs])


def test_hdf5_has_the_layout_of_maze2d(made):
    """Field by field, with the folders above it made and no other file left."""
    folder, _, runs = made
    path = folder / "not" / "there" / "medium.hdf5"
    assert list(path.parent.iterdir()) == [path]
    states = np.concatenate([run.observations[:-1] for run in runs])
    ends = np.arange(500) % 250 == 249
    expected = {
        "observations": states,
        "next_observations": np.concatenate([run.observations[1:] for run in runs]),
        "actions": np.concatenate([run.actions for run in runs]),
        "rewards": np.concatenate([run.rewards for run in runs]),
        "terminals": np.zeros(500, bool),
        "timeouts": ends,
        "infos/goal": np.concatenate([run.goals[:-1] for run in runs]),
        "infos/qpos": states[:, :2],
        "infos/qvel": states[:, 2:],
    }
    with h5py.File(path) as file:
        for field, values in expected.items():
            assert file[field].dtype == values.dtype
            np.testing.assert_array_equal(file[field][()], values)
        assert set(file) == {field.split("/")[0] for field in expected}
        about = json.loads(file.attrs["ractd_jax"])
    assert about["environment"] == "PointMaze_Medium-v3"
    assert about["behaviour"]["action_noise"] == point_maze.DRIVERS[""].action_noise


def test_minari_has_the_observations_of_point_maze(made, monkeypatch):
    folder, _, runs = made
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder / "root"))
    dataset = minari.load_dataset("ractd/pointmaze/medium-v0")
    assert list(dataset.observation_space) == [
        "achieved_goal",
        "desired_goal",
        "observation",
    ]
    for episode, run in zip(dataset.iterate_episodes(), runs, strict=True):
        found = episode.observations
        np.testing.assert_array_equal(found["observation"], run.observations)
        np.testing.assert_array_equal(found["achieved_goal"], run.observations[:, :2])
        np.testing.assert_array_equal(found["desired_goal"], run.goals)
        np.testing.assert_array_equal(episode.actions, run.actions)
        np.testing.assert_array_equal(episode.rewards, run.rewards)
        assert not episode.terminations.any()
        np.testing.assert_array_equal(episode.truncations, np.arange(250) == 249)
    env = dataset.recover_environment()
    assert env.spec.max_episode_steps == 250
    assert env.unwrapped.reset_target
    env.close()


def test_environment_is_recovered_in_a_fresh_process(made):
    """Minari alone, which has not heard of gymnasium-robotics, makes it."""
    program = (
        "import sys, minari\n"
        "dataset = minari.load_dataset('ractd/pointmaze/medium-v0')\n"
        "assert 'gymnasium_robotics' not in sys.modules\n"
        "env = dataset.recover_environment(eval_env=True)\n"
        "observation, _ = env.reset(seed=0)\n"
        "assert set(observation) == set(dataset.observation_space)\n"
        "assert not env.unwrapped.reset_target\n"
        "print(env.spec.id, env.spec.max_episode_steps)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "MINARI_DATASETS_PATH": str(made[0] / "root")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "PointMaze_Medium-v3 600"


@pytest.mark.parametrize("option", ["hdf5", "root"])
def test_unwritable_place_is_refused_before_recording(tmp_path, monkeypatch, option):
    """Below a file there can be no file, and a folder is none either."""

    def recorded_nonetheless(*_):
        raise AssertionError("recorded before it knew where to write")

    monkeypatch.setattr(point_maze, "record_maze", recorded_nonetheless)
    (tmp_path / "file").touch()
    places = [tmp_path / "file" / "below"]
    if option == "hdf5":
        places.append(tmp_path)
    for place in places:
        options = {"root": str(tmp_path / "root"), option: str(place)}
        with pytest.raises(DataError, match="can be written") as caught:
            generate_dataset("pointmaze-umaze", 10, 0, **options)
        assert str(place) in str(caught.value)
