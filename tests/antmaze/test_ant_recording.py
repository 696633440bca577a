"""Recordings of an ant that is walked through D4RL's mazes."""

import collections
import importlib.resources
import json

import gymnasium
import h5py
import numpy as np
import pytest

from ractd_jax.data.d4rl_hdf5 import load_d4rl_hdf5
from ractd_jax.data.minari_source import load_minari
from ractd_jax.errors import DataError
from ractd_jax.recording import ant_maze, rating, training
from ractd_jax.recording.behaviour import (
    PolicySnapshots,
    load_packaged_snapshots,
    load_snapshots,
    save_snapshots,
)
from ractd_jax.tasks.ant_maze import ANT_MAZES, DIRECTION, d4rl_map
from ractd_jax.tasks.d4rl_ant_maze import GOAL_CELLS, has_arrived
from ractd_jax.tasks.maze_map import crosses_wall
from tests.mains import run_forked

pytest.importorskip("gymnasium_robotics")


@pytest.fixture(scope="module")
def walker():
    return load_packaged_snapshots("ant").role("expert")


@pytest.fixture(scope="module")
def umaze():
    env = gymnasium.make(ant_maze.recording_spec("umaze"), disable_env_checker=True)
    yield env
    env.close()


# --- the policy


def test_the_packaged_policy():
    asset = importlib.resources.files("ractd_jax.recording") / "assets/ant.npz"
    with importlib.resources.as_file(asset) as path:
        assert path.stat().st_size < 1_500_000
    snapshots = load_packaged_snapshots("ant")
    assert snapshots.metadata["environment"] == DIRECTION
    policy = snapshots.role("expert")
    assert (policy.weights[0].shape[0], policy.weights[-1].shape[1]) == (29, 16)
    rates = snapshots.metadata["arrivals"]
    assert set(rates) == set(ANT_MAZES)
    assert rates["umaze"] >= 0.9 and rates["large"] >= 0.8


@pytest.mark.slow
def test_the_controller_arrives_as_often_as_stated(walker, env):
    arrived = [ant_maze.arrives(env, walker, seed) for seed in range(20)]
    assert np.mean(arrived) >= 0.75


@pytest.mark.slow
def test_a_training_keeps_what_it_has_so_far(tmp_path):
    """Without an update: the environment is found by its id, one snapshot is kept."""
    pytest.importorskip("sbx")
    options = training.BehaviourTraining(
        env=DIRECTION,
        algorithm="sac",
        total_steps=40,
        snapshot_every=20,
        eval_episodes=1,
        num_replay=1,
        actor_widths=(8, 8),
        critic_widths=(8, 8),
        learning_rate=3e-4,
        discount=0.99,
        entropy=-0.5,
        update_every=8,
        updates_per_step=0.5,
        seed=0,
    )
    output = tmp_path / "ant.npz"
    training.train_behaviour(options, tmp_path, output, "python -m here")
    kept = load_snapshots(output)
    assert len(kept.policies) == 1
    assert kept.metadata["roles"]["medium"] == kept.metadata["roles"]["expert"]
    assert len((tmp_path / "returns.jsonl").read_text().splitlines()) == 3


# --- the controller


@pytest.mark.parametrize("name", ANT_MAZES)
def test_waypoints_lead_to_the_goal_around_the_walls(name, still):
    """A point that goes straight to every waypoint arrives and crosses no wall."""
    maze = d4rl_map(name)
    rng = np.random.default_rng(0)
    controller = ant_maze.AntController(still, maze, rng)
    goal = maze.cell_to_xy(np.array(GOAL_CELLS[name])) + 0.7
    position, way = np.zeros(2), [np.zeros(2)]
    while not has_arrived(position, goal):
        step = controller.waypoint(position, goal) - position
        position = position + step * min(1.0, 0.4 / np.linalg.norm(step))
        way.append(position)
        assert len(way) < 500
    assert not crosses_wall(maze, np.array(way)[None])[0]


def test_a_torso_in_a_wall_keeps_its_cell(still):
    """From the corner of the U, and from the wall beside the way down."""
    rng = np.random.default_rng(0)
    controller = ant_maze.AntController(still, d4rl_map("umaze"), rng)
    for position in ((8.0, 1.9), (5.9, 4.0)):
        off = controller.waypoint(np.array(position), np.array([8.0, 8.0])) - (8, 4)
        assert ((off >= 0) & (off <= 1)).all()


def test_ends_of_the_kinds():
    ends = {}
    for kind in ant_maze.KINDS:
        maze, rng = d4rl_map(kind.partition("-")[0]), np.random.default_rng(0)
        drawn = [ant_maze.draw_ends(kind, maze, rng) for _ in range(500)]
        assert all(start != end for start, end in drawn)
        assert not any(maze.walls[cell] for pair in drawn for cell in pair)
        ends[kind] = collections.Counter(drawn)
    assert set(ends["umaze"]) == {((1, 1), (3, 1))}
    # Each pair of the marked cells, both ways.
    assert len(ends["medium-play"]) == 5 * 4 and len(ends["large-play"]) == 8 * 7
    assert len({start for start, _ in ends["umaze-diverse"]}) == 7
    assert len({start for start, _ in ends["medium-diverse"]}) == 26


def test_what_is_stuck():
    still, walking = np.zeros((300, 29)), np.zeros((300, 29))
    walking[:, 0] = np.linspace(0, 9, 300)
    assert ant_maze.is_stuck(still)
    assert not ant_maze.is_stuck(still[:200])  # 199 steps
    assert not ant_maze.is_stuck(walking)
    assert not ant_maze.is_stuck([*still, walking[-1]])
    assert ant_maze.is_stuck([*walking, *still])


# --- recordings


def test_an_episode_is_its_seeds(umaze, walker):
    one, again, other = (
        ant_maze.record_episode(umaze, walker, "umaze", seed) for seed in (4, 4, 5)
    )
    for found, expected in zip(one[:3], again[:3], strict=True):
        np.testing.assert_array_equal(found, expected)
    length = len(one.actions)
    assert one.observations.shape == (length + 1, 29)
    assert one.actions.dtype == np.float32 and np.abs(one.actions).max() <= 1.0
    assert not np.array_equal(one.actions[:20], other.actions[:20])
    # Sent to the evaluation's goal: it ends where it arrives, and only that is paid.
    assert one.goals.shape == (length + 1, 2)
    arrived = has_arrived(one.observations[1:, :2], one.goals[0])
    np.testing.assert_array_equal(one.rewards, arrived.astype(np.float32))
    assert (one.terminated, one.truncated) == (arrived[-1], not arrived[-1])
    assert not arrived[:-1].any()


def test_a_policy_that_does_not_walk_is_one_line(umaze, still, monkeypatch):
    monkeypatch.setattr(ant_maze, "_ATTEMPTS", 1)
    monkeypatch.setattr(ant_maze, "ACTION_NOISE", 0.0)
    with pytest.raises(
        DataError, match="seed 3: expected a policy that walks, found 1"
    ):
        ant_maze.record_episode(umaze, still, "umaze", 3)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """(folder, what the main printed) of a recording in root/ and ants.hdf5."""
    folder = tmp_path_factory.mktemp("recorded")
    done = run_forked(
        "experiments.generate_dataset",
        "--task=antmaze-medium-play",
        "--num_transitions=300",
        f"--root={folder / 'root'}",
        f"--hdf5={folder / 'ants.hdf5'}",
        "--num_workers=1",
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_recording_in_both_layouts(recorded):
    folder, printed = recorded
    assert printed.startswith("ractd/antmaze/medium-play-v0: ")
    with h5py.File(folder / "ants.hdf5") as file:
        about = json.loads(file.attrs["ractd_jax"])
        assert file["infos/qpos"].shape[1:] == (15,)
        np.testing.assert_array_equal(file["infos/qvel"], file["observations"][:, 15:])
    assert about["environment"] == ANT_MAZES["medium"]
    assert "stayed within 0.5 m" in about["behaviour"]["left_out"]
    assert set(about["behaviour"]["policy"]["arrivals"]) == set(ANT_MAZES)
    episodes, origin = load_d4rl_hdf5(folder / "ants.hdf5")
    assert origin.environment_id == ANT_MAZES["medium"]
    assert (origin.score_min, origin.score_max) == (0.0, 1.0)
    assert episodes.goals.shape == (episodes.num_transitions, 2)
    minari, origin = load_minari("ractd/antmaze/medium-play-v0", str(folder / "root"))
    assert origin.environment_id == ANT_MAZES["medium"]
    # It evaluates in 1,000 steps as registered, and knows how it was reset.
    assert origin.environment_spec == "" and set(origin.reset.options) == {"start"}
    for name in ("observations", "actions", "rewards", "starts", "terminals"):
        np.testing.assert_array_equal(getattr(minari, name), getattr(episodes, name))


def test_the_first_episode_can_be_replayed(recorded, caplog):
    """What a training compares the environment with."""
    folder, _ = recorded
    _, origin = load_minari("ractd/antmaze/medium-play-v0", str(folder / "root"))
    episodes, _ = load_d4rl_hdf5(folder / "ants.hdf5")
    env = gymnasium.make(ant_maze.recording_spec("medium-play"))
    observation, _ = env.reset(seed=origin.reset.seed, options=origin.reset.options)
    for recorded_state, action in zip(
        episodes.observations[:20], episodes.actions[:20], strict=True
    ):
        np.testing.assert_allclose(observation, recorded_state, atol=1e-3)
        observation, *_ = env.step(action)
    env.close()


@pytest.mark.slow
def test_a_recording_does_not_depend_on_the_workers(walker):
    one, two = (
        list(ant_maze.record_ant_maze("medium-diverse", walker, 600, 3, workers))
        for workers in (1, 2)
    )
    assert [episode.seed for episode in one] == [episode.seed for episode in two]
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.actions, b.actions)
        np.testing.assert_array_equal(a.observations, b.observations)
        np.testing.assert_array_equal(a.goals, b.goals)


@pytest.mark.slow
def test_a_rating_says_how_often_the_controller_arrives(still, tmp_path):
    path = tmp_path / "ant.npz"
    metadata = {
        "environment": DIRECTION,
        "roles": {"medium": "a", "expert": "a"},
        "snapshots": {"a": {"env_steps": 0, "return_mean": 0.0}},
    }
    save_snapshots(path, PolicySnapshots({"a": still}, metadata))
    rating.rate_snapshots(path, 2, 0)
    rated = load_snapshots(path).metadata
    assert rated["arrivals"] == dict.fromkeys(ANT_MAZES, 0.0)
    assert abs(rated["snapshots"]["a"]["return_mean"]) < 100
