"""Recordings of the roundabout: without crashes, half of each kind, read again."""

import dataclasses

import gymnasium
import numpy as np
import pytest

import ractd_jax
from ractd_jax.data.sources import load_resolved
from ractd_jax.evaluation.rollout import evaluate_planner
from ractd_jax.presets.combinations import get_roundabout
from ractd_jax.recording.behaviour import CategoricalPolicy
from ractd_jax.recording.minari_writer import save_minari
from ractd_jax.recording.roundabout import ENVIRONMENT, record_roundabout
from ractd_jax.settings import from_mapping
from ractd_jax.tasks import task_of
from ractd_jax.tasks.environments import registered_spec
from ractd_jax.tasks.roundabout import IDS
from ractd_jax.training.loop import train
from ractd_jax.training.stages import make_stage, student_stage

pytest.importorskip("highway_env")


def always(action: int) -> CategoricalPolicy:
    """Draws this action in nearly every step."""
    logits = np.zeros(5, np.float32)
    logits[action] = 5.0
    return CategoricalPolicy((np.zeros((30, 5), np.float32),), (logits,))


CAREFUL = {"cars": always(4), "bicycles": always(4)}  # slower


@pytest.fixture(scope="module")
def episodes():
    return list(record_roundabout(CAREFUL, 60, 7, num_workers=2))


def test_episodes_have_no_crash_and_one_kind_each(episodes):
    task, steps = task_of(ENVIRONMENT), {1.0: 0, 2.0: 0}
    for episode in episodes:
        assert not episode.terminated and episode.truncated
        assert episode.actions.dtype == np.int64 and len(episode.actions) == 11
        kinds = task.elements(episode.observations)[:, 1:]
        (kind,) = set(np.unique(kinds)) - {0.0}  # rows may be empty
        steps[kind] += len(episode.actions)
        assert episode.options == {"bicycles": [kind == 2.0] * 4}
    assert all(30 <= count < 41 for count in steps.values())
    seeds = [episode.seed for episode in episodes]
    assert len(set(seeds)) == len(seeds) and min(seeds) >= 7


@pytest.fixture(scope="module")
def root(episodes, tmp_path_factory) -> str:
    """A Minari root with the recording."""
    folder = str(tmp_path_factory.mktemp("minari"))
    save_minari(
        "ractd/roundabout/one_kind-v0",
        episodes,
        registered_spec(ENVIRONMENT),
        folder,
        algorithm="by hand",
        description="{}",
    )
    return folder


def smoke_settings(root: str):
    config = get_roundabout("smoke").to_dict()
    return from_mapping({"dataset": {"root": root}}, from_mapping(config))


def test_a_recording_is_trained_on_as_it_was_made(episodes, root):
    """Discrete in the file, one-hot for a planner; the scenes are made again."""
    settings, dataset = load_resolved(smoke_settings(root))
    assert settings.environment.id == ENVIRONMENT
    actions = dataset.episodes.actions
    assert set(np.unique(actions)) == {-1.0, 1.0} and actions.shape[1] == 5
    np.testing.assert_array_equal(
        actions.argmax(axis=1), np.concatenate([each.actions for each in episodes])
    )
    env = gymnasium.make(registered_spec(ENVIRONMENT))
    for episode in (episodes[0], episodes[-1]):
        seen, _ = env.reset(seed=episode.seed, options=episode.options)
        for state, action in zip(episode.observations, episode.actions, strict=False):
            np.testing.assert_array_equal(seen, state)
            seen, *_ = env.step(action)
    env.close()


@pytest.mark.slow
def test_a_planner_drives_in_traffic_that_it_never_saw(root, tmp_path):
    """Teacher and one-step student of the smoke preset, in mixed traffic."""
    settings, dataset = load_resolved(smoke_settings(root))
    train(make_stage("teacher", settings, dataset), settings.run, 0, tmp_path / "t")
    student = student_stage(settings, dataset, tmp_path / "t", None)
    train(student, settings.run, 0, tmp_path / "s")
    mixed = dataclasses.replace(settings.environment, id=IDS["mixed"], spec="")
    for model, nfe in (("t", 6), ("s", 1)):
        planner = ractd_jax.load_planner(tmp_path / model)
        assert planner.nfe == nfe
        found = evaluate_planner(planner, mixed, 3, 0)
        assert found.event_names.tolist() == ["crash"] and found.num_failed == 0
        crashed = found.events[:, 0] >= 0
        np.testing.assert_array_equal(found.events[crashed, 0], found.lengths[crashed])
        assert (found.lengths[~crashed] == 11).all() and (found.returns > 0).all()
    for stage in ("discrete_bc", "cql"):
        plan = {"kind": "actions", "horizon": 1, "conditioning": "film"}
        plan |= {"elements": "none", "executed_weight": 1.0}
        own = from_mapping({"plan": plan}, settings)
        train(make_stage(stage, own, dataset), own.run, 0, tmp_path / stage)
        planner = ractd_jax.load_planner(tmp_path / stage)
        assert evaluate_planner(planner, mixed, 2, 0).num_failed == 0
