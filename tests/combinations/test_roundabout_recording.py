"""Recordings of the roundabout: without crashes, half of each kind, read again."""

import gymnasium
import numpy as np
import pytest

from ractd_jax.data.sources import load_resolved
from ractd_jax.recording.behaviour import CategoricalPolicy
from ractd_jax.recording.minari_writer import save_minari
from ractd_jax.recording.roundabout import ENVIRONMENT, record_roundabout
from ractd_jax.settings import from_mapping
from ractd_jax.tasks import task_of
from ractd_jax.tasks.environments import registered_spec
from tests.toys import toy_settings

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


def test_a_recording_is_trained_on_as_it_was_made(episodes, tmp_path):
    """Discrete in the file, one-hot for a planner; the scenes are made again."""
    save_minari(
        "ractd/roundabout/one_kind-v0",
        episodes,
        registered_spec(ENVIRONMENT),
        str(tmp_path),
        algorithm="by hand",
        description="{}",
    )
    changes = {
        "dataset": {"id": "ractd/roundabout/one_kind-v0", "root": str(tmp_path)},
        "plan": {"kind": "joint", "elements": "observed", "conditioning": "ends"},
    }
    settings, dataset = load_resolved(from_mapping(changes, toy_settings()))
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
