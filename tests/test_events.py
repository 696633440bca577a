"""Named events of episodes: when they happened, from the environment to the picture."""

import contextlib
import json

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from ractd_jax import tasks
from ractd_jax.dimensions import Dimensions
from ractd_jax.evaluation.members import EpisodeResults
from ractd_jax.evaluation.results import load_results, save_results
from ractd_jax.evaluation.rollout import run_episodes
from ractd_jax.reports.event_pictures import (
    draw_events,
    episode_order,
    shares_over_time,
)
from ractd_jax.reports.report import event_rows
from ractd_jax.reports.statistics import summarize
from ractd_jax.settings import Environment

NAMES = ("door", "lamp")
DIMS = Dimensions(observation=1, action=1, horizon=1, history=1)


class House(gymnasium.Env):
    """The door opens at step 2 of even seeds, the lamp is lit at 1 + the seed."""

    observation_space = Box(-1.0, 1.0, (1,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        self._seed, self._step, self._done = seed, 0, []
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self._step += 1
        if self._step == 2 and self._seed % 2 == 0:
            self._done.append("door")
        if self._step == 1 + self._seed:
            self._done.append("lamp")
        terminated = len(self._done) == 2
        return np.zeros(1, np.float32), 0.0, terminated, False, {"done": self._done}


class HouseTask(tasks.Task):
    name = "house"
    pattern = r"tests/House-v0"

    def register_ids(self):
        if "tests/House-v0" not in gymnasium.registry:
            limit = {"max_episode_steps": 5}
            gymnasium.register("tests/House-v0", entry_point=House, **limit)

    def events(self, environment):
        return NAMES

    def happened(self, info):
        return info["done"]


class Idle:
    compile_seconds = 0.0

    def act(self, observations, episodes, step):
        return np.zeros((len(episodes), 1))


@contextlib.contextmanager
def known(task):
    before = dict(tasks._TASKS)
    tasks.register(task)
    yield
    tasks._TASKS.clear(), tasks._TASKS.update(before)


@pytest.fixture(scope="module")
def found() -> EpisodeResults:
    with known(HouseTask()):
        return run_episodes(Idle(), DIMS, Environment("tests/House-v0"), np.arange(7))


def test_the_first_step_of_each_event_is_kept(found):
    """Also of those at an episode's last step; -1 of those that never came."""
    assert found.event_names.tolist() == list(NAMES)
    expected = [[2, 1], [-1, 2], [2, 3], [-1, 4], [2, 5], [-1, -1], [2, -1]]
    np.testing.assert_array_equal(found.events, expected)
    np.testing.assert_array_equal(found.lengths, [2, 5, 3, 5, 5, 5, 5])


def test_they_are_saved_with_the_raw_results(found, tmp_path):
    save_results(tmp_path / "raw.npz", found)
    loaded = load_results(tmp_path / "raw.npz")
    np.testing.assert_array_equal(loaded.events, found.events)
    assert loaded.event_names.tolist() == list(NAMES)


def test_families_without_events_have_none(tmp_path):
    """Neither in memory, nor in the file, the statistics, a table or a picture."""
    task = HouseTask()
    task.events = lambda environment: ()
    with known(task):
        environment = Environment("tests/House-v0")
        found = run_episodes(Idle(), DIMS, environment, np.arange(2))
    assert found.events.shape == (0, 0) and found.event_names.shape == (0,)
    save_results(tmp_path / "raw.npz", found)
    with np.load(tmp_path / "raw.npz") as stored:
        assert not {"events", "event_names"} & set(stored)
    row = summarize(found, environment)
    assert "events" not in row
    assert event_rows({"planners": {"CTD": row}}) == []
    assert not draw_events(tmp_path / "none.png", {"CTD": found})
    assert not (tmp_path / "none.png").exists()


def test_shares_and_steps_are_summarised(found):
    row = summarize(found, Environment("tests/House-v0"))
    assert json.loads(json.dumps(row["events"])) == {
        "door": {"share": 4 / 7, "median_step": 2.0},
        "lamp": {"share": 5 / 7, "median_step": 3.0},
    }
    never = found._replace(events=np.full((7, 2), -1))
    events = summarize(never, Environment("tests/House-v0"))["events"]
    assert events["lamp"] == {"share": 0.0, "median_step": None}


def test_the_table_has_a_row_for_each_planner_that_has_events(found):
    row = summarize(found, Environment("tests/House-v0"))
    planners = {"CTD": row, "RACTD": row, "older": {"score_mean": 1.0}}
    header, *rows = event_rows({"planners": planners})
    assert header == ["done in % of the episodes", *NAMES]
    assert rows == [["CTD", "57%", "71%"], ["RACTD", "57%", "71%"]]


def test_episodes_with_most_events_come_first_and_the_soonest_of_these():
    events = np.array([[3, -1], [9, 8], [-1, -1], [2, 5], [-1, 1]])
    assert episode_order(events).tolist() == [3, 1, 4, 0, 2]


def test_shares_rise_at_the_steps():
    shares = shares_over_time(np.array([2, -1, 2, 4]), 4)
    np.testing.assert_array_equal(shares, [0.0, 0.0, 0.5, 0.5, 0.75])


def test_the_picture_is_drawn(found, tmp_path):
    assert draw_events(tmp_path / "events.png", {"CTD": found, "RACTD": found})
    assert (tmp_path / "events.png").stat().st_size > 10_000
