"""The kitchen's subtasks as events of an episode."""

import gymnasium
import numpy as np
import pytest

from ractd_jax.dimensions import Dimensions
from ractd_jax.evaluation import workers
from ractd_jax.evaluation.rollout import run_episodes
from ractd_jax.settings import Environment
from ractd_jax.tasks import task_of
from ractd_jax.tasks.kitchen import KITCHENS


def test_its_subtasks_are_the_events_of_an_episode():
    """By the id, or by the spec of a FrankaKitchen; an evaluation says when."""
    pytest.importorskip("gymnasium_robotics")
    for environment_id, (subtasks, _) in KITCHENS.items():
        environment = Environment(environment_id)
        assert task_of(environment_id).events(environment) == subtasks
    franka = task_of("FrankaKitchen-v1")
    assert len(franka.events(Environment("FrankaKitchen-v1"))) == 7
    spec = gymnasium.spec("FrankaKitchen-v1")
    spec.kwargs["tasks_to_complete"] = ["kettle"]
    asked = Environment("FrankaKitchen-v1", spec=spec.to_json())
    assert franka.events(asked) == ("kettle",)


class AtThirdStep:
    """Stands still, and calls a function in the third step."""

    compile_seconds = 0.0

    def __init__(self, call):
        self._call = call

    def act(self, observations, episodes, step):
        if step == 2:
            self._call()
        return np.zeros((len(episodes), 9))


def test_an_evaluation_keeps_when_a_subtask_was_done(monkeypatch):
    pytest.importorskip("gymnasium_robotics")
    from gymnasium_robotics.envs.franka_kitchen.kitchen_env import OBS_ELEMENT_INDICES

    worlds, make = [], workers.make_environment

    def remember(settings):
        worlds.append(make(settings))
        return worlds[-1]

    def put_kettle_in_place():
        world = worlds[0].unwrapped._kitchen
        world.data.qpos[OBS_ELEMENT_INDICES["kettle"]] = world.goal["kettle"]

    monkeypatch.setattr(workers, "make_environment", remember)
    environment = Environment("ractd/Kitchen-v0", max_episode_steps=4)
    dims = Dimensions(observation=30, action=9, horizon=1, history=1)
    policy = AtThirdStep(put_kettle_in_place)
    found = run_episodes(policy, dims, environment, np.arange(2))
    assert found.event_names.tolist() == list(KITCHENS["ractd/Kitchen-v0"][0])
    np.testing.assert_array_equal(found.events, [[-1, 3, -1, -1], [-1] * 4])
