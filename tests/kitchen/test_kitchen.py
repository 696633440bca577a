"""The kitchen: D4RL's numbers, demonstrations that repeat, recordings made of them."""

import collections
import json
import shutil
import sys

import gymnasium
import h5py
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from hypothesis import given
from hypothesis import strategies as st

from ractd_jax.data.d4rl_hdf5 import load_d4rl_hdf5
from ractd_jax.data.origin import origin_of_file
from ractd_jax.errors import ConfigError, DataError
from ractd_jax.pipelines.tables import TABLES
from ractd_jax.recording import kitchen
from ractd_jax.recording.generate import generate_dataset
from ractd_jax.settings import Environment
from ractd_jax.tasks import task_of
from ractd_jax.tasks.environments import (
    make_environment,
    recorded_spec,
    registered_spec,
    time_limit,
)
from ractd_jax.tasks.kitchen import KITCHENS
from tests.kitchen.conftest import DONE, NUM_DEMONSTRATIONS, OFFICIAL, STEPS
from tests.mains import run_forked

needs_official = pytest.mark.skipif(
    not OFFICIAL.exists(), reason=f"{OFFICIAL} is not there"
)


# --- the environment


@pytest.mark.parametrize("environment_id", KITCHENS)
def test_it_is_franka_kitchen_in_d4rls_numbers(environment_id):
    pytest.importorskip("gymnasium_robotics")
    subtasks, observe_goal = KITCHENS[environment_id]
    env = make_environment(Environment(environment_id))
    franka = gymnasium.make("FrankaKitchen-v1", tasks_to_complete=list(subtasks))
    observation, _ = env.reset(seed=5)
    expected = franka.reset(seed=5)[0]["observation"]
    size = 60 if observe_goal else 30
    assert observation.shape == env.observation_space.shape == (size,)
    assert time_limit(env) == 280
    rng = np.random.default_rng(0)
    for _ in range(3):
        robot, objects = expected[:9], expected[18:39]
        np.testing.assert_array_equal(observation[:30], [*robot, *objects])
        action = rng.uniform(-1, 1, 9)
        observation, reward, *_ = env.step(action)
        expected = franka.step(action)[0]["observation"]
        assert reward == 0.0
    reference = task_of(environment_id).reference(environment_id)
    assert (reference.low, reference.high) == (0.0, 4.0)
    env.close(), franka.close()


def test_a_subtask_is_paid_once(env):
    """All objects put where they belong: four at once, and the episode ends."""
    world = env.unwrapped._kitchen
    env.reset(seed=0)
    from gymnasium_robotics.envs.franka_kitchen.kitchen_env import OBS_ELEMENT_INDICES

    for name in ("microwave", "kettle"):
        world.data.qpos[OBS_ELEMENT_INDICES[name]] = world.goal[name]
    paid = [env.step(np.zeros(9)) for _ in range(3)]
    assert [step[1] for step in paid] == [2.0, 0.0, 0.0]
    assert set(paid[2][4]["episode_task_completions"]) == {"microwave", "kettle"}
    for name in ("light switch", "slide cabinet"):
        world.data.qpos[OBS_ELEMENT_INDICES[name]] = world.goal[name]
    _, reward, terminated, truncated, _ = env.step(np.zeros(9))
    assert (reward, terminated, truncated) == (2.0, True, False)
    assert env.reset(seed=1)[1]["episode_task_completions"] == []


def test_a_recorded_spec_is_the_registered_one():
    pytest.importorskip("gymnasium_robotics")
    spec = registered_spec("ractd/Kitchen-v0")
    assert recorded_spec(EnvSpec.from_json(spec.to_json())) == ("", ())


def test_success_is_all_four():
    task = task_of("ractd/Kitchen-v0")
    returns = np.array([0.0, 3.0, 4.0])
    np.testing.assert_array_equal(task.success(returns), [False, False, True])


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    with pytest.raises(ConfigError, match=r"pip install 'ractd_jax\[kitchen\]'"):
        make_environment(Environment("ractd/Kitchen-v0"))


# --- D4RL's files


@pytest.mark.parametrize(
    ("name", "environment_id"),
    [
        ("mini_kitchen_microwave_kettle_light_slider-v0.hdf5", "ractd/Kitchen-Goal-v0"),
        ("kitchen_microwave_kettle_light_slider-v0.hdf5", "ractd/Kitchen-Goal-v0"),
        (
            "kitchen_microwave_kettle_bottomburner_light-v0.hdf5",
            "ractd/Kitchen-Mixed-Goal-v0",
        ),
        ("kitchen-mixed-v0.hdf5", "ractd/Kitchen-Mixed-Goal-v0"),
    ],
)
def test_the_environment_of_a_file(name, environment_id):
    origin = origin_of_file(name)
    assert origin.environment_id == environment_id
    assert (origin.score_min, origin.score_max) == (0.0, 4.0)


def test_counts_of_subtasks_become_what_is_paid(demonstration_file, tmp_path):
    episodes, _ = load_d4rl_hdf5(demonstration_file)
    steps = np.flatnonzero(episodes.rewards).reshape(NUM_DEMONSTRATIONS, 4)
    np.testing.assert_array_equal(steps, [np.add(DONE, STEPS * i) for i in range(3)])
    assert set(episodes.rewards[steps.ravel()]) == {1.0}
    # One that is undone is not paid again, and two at once are two.
    other = tmp_path / "kitchen.hdf5"
    shutil.copy(demonstration_file, other)
    with h5py.File(other, "r+") as file:
        file["rewards"][:STEPS] = [0, 1, 0, 1, 3] + [2] * (STEPS - 5)
    paid = load_d4rl_hdf5(other)[0].rewards[:STEPS]
    np.testing.assert_array_equal(paid[:6], [0, 1, 0, 0, 2, 0])
    assert paid[6:].sum() == 0


@needs_official
def test_the_goal_is_that_of_d4rls_file(env):
    with h5py.File(OFFICIAL) as file:
        goal = file["observations"][0, 30:]
    observation, _ = env.reset(seed=0)
    np.testing.assert_allclose(observation[30:], goal, atol=1e-6)


@needs_official
@pytest.mark.slow
def test_commands_repeat_the_demonstrations(env):
    """At least 3.9 of 4 subtasks, where the actions as they are do fewer than 2."""
    demonstrations = kitchen.load_demonstrations(str(OFFICIAL))
    assert len(demonstrations) == 19
    done = []
    for seed, demonstration in enumerate(demonstrations):
        observation, _ = env.reset(seed=seed)
        done.append(0.0)
        for target in demonstration.targets:
            action = kitchen.follow(observation[:9], target)
            observation, reward, terminated, *_ = env.step(action)
            done[-1] += reward
            if terminated:
                break
    assert np.mean(done) >= 3.9


# --- demonstrations


def test_segments_end_after_their_subtasks(demonstration_file):
    demonstrations = kitchen.load_demonstrations(str(demonstration_file))
    assert len(demonstrations) == NUM_DEMONSTRATIONS
    for demonstration in demonstrations:
        assert demonstration.targets.shape == (STEPS, 9)
        assert demonstration.ends == (0, *(done + 9 for done in DONE))
        parts = [demonstration.segment(i) for i in range(4)]
        whole = np.concatenate(parts)
        np.testing.assert_array_equal(whole, demonstration.targets[: len(whole)])


def test_a_target_is_where_the_robot_is_sent(env):
    """In MuJoCo's own control, whatever noise is seen."""
    observation, _ = env.reset(seed=2)
    target = observation[:9] + np.linspace(0.0, 0.1, 9)
    target[7:] = 0.03  # fingers stay within their limits
    env.step(kitchen.follow(observation[:9], target))
    np.testing.assert_allclose(env.unwrapped._kitchen.data.ctrl, target, atol=1e-6)


@given(
    st.lists(st.floats(-3, 3), min_size=9, max_size=9),
    st.lists(st.floats(-3, 3), min_size=9, max_size=9),
)
def test_ways_are_straight_and_no_faster_than_0_7(start, end):
    start, end = np.array(start), np.array(end)
    way = kitchen.way(start, end)
    path = np.stack([start, *way, end])
    assert np.abs(np.diff(path, axis=0)).max() <= 0.7 * 0.16 + 1e-9
    np.testing.assert_allclose(
        np.diff(path, axis=0),
        np.diff(path, axis=0)[:1].repeat(len(path) - 1, 0),
        atol=1e-9,
    )


def test_orders_of_the_kinds():
    rng = np.random.default_rng(0)
    orders = {
        kind: [tuple(kitchen.draw_order(kind, rng)) for _ in range(2000)]
        for kind in kitchen.KINDS
    }
    assert set(orders["complete"]) == {(0, 1, 2, 3)}
    sizes = {kind: collections.Counter(map(len, orders[kind])) for kind in orders}
    assert set(sizes["partial"]) == {2, 3, 4}
    assert set(sizes["mixed"]) == {2, 3}
    assert orders["partial"].count((0, 1, 2, 3)) > 0.1 * 2000
    assert all(
        len(set(order)) == len(order) for kind in orders for order in orders[kind]
    )
    assert {order[0] for order in orders["mixed"]} == {0, 1, 2, 3}


@pytest.mark.parametrize("fault", ["sizes", "subtasks"])
def test_a_file_of_another_task_is_one_line(demonstration_file, tmp_path, fault):
    path = tmp_path / "kitchen-other.hdf5"
    shutil.copy(demonstration_file, path)
    with h5py.File(path, "r+") as file:
        if fault == "sizes":
            observations = file["observations"][:, :30]
            del file["observations"]
            file["observations"] = observations
            expected = "60 numbers, and 9 of actions, found 30, and 9 of actions"
        else:
            file["rewards"][:STEPS] = np.minimum(file["rewards"][:STEPS], 3)
            expected = "every episode does four subtasks.*found 3 in the episode from"
    with pytest.raises(DataError, match=expected) as caught:
        kitchen.load_demonstrations(str(path))
    assert str(path) in str(caught.value)


# --- recordings


def test_an_episode_is_its_seeds(env, demonstration_file):
    demonstrations = kitchen.load_demonstrations(str(demonstration_file))
    plain = make_environment(Environment(kitchen.ENVIRONMENT))
    one, again, other = (
        kitchen.record_episode(plain, demonstrations, "partial", seed)
        for seed in (4, 4, 5)
    )
    plain.close()
    for found, expected in zip(one, again, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert one.observations.shape == (len(one.actions) + 1, 30)
    assert one.actions.dtype == np.float32
    assert np.abs(one.actions).max() <= 1.0
    assert not np.array_equal(one.actions[:20], other.actions[:20])
    assert (one.terminated, one.truncated) == (False, True)


@pytest.fixture(scope="module")
def recorded(demonstration_file, tmp_path_factory):
    """(folder, what the main printed) of a recording in root/ and kitchen.hdf5."""
    folder = tmp_path_factory.mktemp("recorded")
    done = run_forked(
        "experiments.generate_dataset",
        "--task=kitchen-mixed",
        "--num_transitions=200",
        f"--demonstrations={demonstration_file}",
        f"--root={folder / 'root'}",
        f"--hdf5={folder / 'kitchen.hdf5'}",
        "--num_workers=1",
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_recording_says_what_it_is_made_of(recorded):
    folder, printed = recorded
    assert printed.startswith("ractd/kitchen/mixed-v0: 2")
    with h5py.File(folder / "kitchen.hdf5") as file:
        about = json.loads(file.attrs["ractd_jax"])
        assert file["observations"].shape[1] == 30
    assert about["environment"] == "ractd/Kitchen-v0"
    assert "Gupta et al. 2019" in about["behaviour"]["demonstrations"]
    # Paid once already: rewards of our own files are left as they are.
    episodes, origin = load_d4rl_hdf5(folder / "kitchen.hdf5")
    assert origin.environment_id == "ractd/Kitchen-v0"
    assert episodes.num_transitions >= 200


@pytest.mark.slow
def test_a_recording_does_not_depend_on_the_workers(demonstration_file):
    demonstrations = kitchen.load_demonstrations(str(demonstration_file))
    one, two = (
        list(kitchen.record_kitchen(demonstrations, "partial", 150, 3, workers))
        for workers in (1, 2)
    )
    assert [episode.seed for episode in one] == [episode.seed for episode in two]
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.actions, b.actions)
        np.testing.assert_array_equal(a.observations, b.observations)


def test_demonstrations_are_asked_for(tmp_path):
    with pytest.raises(ConfigError, match="--demonstrations .*found nothing"):
        generate_dataset("kitchen-complete", 10, 0, root=str(tmp_path))
    options = {"demonstrations": "x.hdf5", "root": str(tmp_path)}
    with pytest.raises(ConfigError, match="--demonstrations .*found 'x.hdf5'"):
        generate_dataset("hopper-medium", 10, 0, **options)
    with pytest.raises(DataError, match=r"x\.hdf5"):
        generate_dataset("kitchen-complete", 10, 0, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "preset"),
    [("partial", "smoke"), ("d4rl", "smoke"), ("partial", "smoke_states")],
)
def test_the_pipeline_runs_to_its_report(demonstration_file, tmp_path, kind, preset):
    named = "path" if kind == "d4rl" else "demonstrations"
    done = run_forked(
        "experiments.pipeline",
        f"--config=configs/kitchen_{kind}.py:{preset}",
        f"--workdir={tmp_path}",
        f"--config.dataset.{named}={demonstration_file}",
        "--config.evaluation.num_episodes=1",
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    # Four subtasks are a score of 100, so one subtask is 25.
    assert report["dataset"]["episodes"] > 1
    for row in report["planners"].values():
        assert row["score_mean"] == pytest.approx(25.0 * row["return_mean"])
    text = (tmp_path / "report.md").read_text()
    assert "| done in % of the episodes | microwave |" in text
    assert (tmp_path / "events.png").exists() and "events.png" in text
    assert "ractd/Kitchen-v0" in text or "ractd/Kitchen-Goal-v0" in text


@pytest.mark.slow
def test_the_table_of_plans_of_states(demonstration_file, tmp_path):
    """Teacher, students and the best of several, followed by inverse dynamics."""
    done = run_forked(
        "experiments.benchmark",
        "--tasks=kitchen-partial",
        "--preset=smoke_states",
        "--table=states",
        "--seeds=0",
        "--num_episodes=1",
        f"--demonstrations={demonstration_file}",
        f"--workdir={tmp_path}",
        f"--results={tmp_path / 'results'}",
    )
    assert done.returncode == 0, done.stderr
    cell = json.loads(
        (tmp_path / "results/kitchen-partial/seed_0/cell.json").read_text()
    )
    planners = cell["planners"]
    assert set(planners) == set(TABLES["states"])
    assert planners["states, CTD, best of 64"]["nfe"] == 1
    assert cell["about"]["settings"]["plan"]["goal_size"] == 0
    assert "states, RACTD" in done.stdout
    assert str(demonstration_file) not in json.dumps(cell)
