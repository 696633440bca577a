"""What behaviour policies record: episodes, mixtures, whole datasets."""

import itertools

import numpy as np
import pytest

from ractd_jax.data.d4rl_hdf5 import load_d4rl_hdf5
from ractd_jax.data.minari_source import load_minari
from ractd_jax.errors import ConfigError, DataError
from ractd_jax.recording.generate import dataset_id, generate_dataset
from ractd_jax.recording.rollouts import mixture, record_episode, record_mixture
from tests.behaviour.conftest import SEED

EPISODE_ARRAYS = ("observations", "actions", "rewards")


def same_episodes(one, other) -> bool:
    return len(one) == len(other) and all(
        a.seed == b.seed
        and all(
            np.array_equal(getattr(a, name), getattr(b, name))
            for name in EPISODE_ARRAYS
        )
        for a, b in zip(one, other, strict=True)
    )


# --- recording


def test_recorded_episode(hopper, env):
    """Shapes, bounds, one more observation than steps, one reason to end."""
    policy = hopper.policies["step_0000000"]
    episode = record_episode(env, policy, SEED)
    length = len(episode.rewards)
    assert episode.observations.shape == (length + 1, 11)
    assert episode.actions.shape == (length, 3)
    assert {getattr(episode, name).dtype for name in EPISODE_ARRAYS} == {
        np.dtype(np.float32)
    }
    assert np.abs(episode.actions).max() <= 1
    assert episode.terminated and not episode.truncated
    assert same_episodes([episode], [record_episode(env, policy, SEED)])
    assert not same_episodes([episode], [record_episode(env, policy, SEED + 1)])
    first, _ = env.reset(seed=SEED)
    np.testing.assert_array_equal(episode.observations[0], first.astype(np.float32))


def test_mixture_shares(hopper):
    """D4RL's recipes; the shares add up to what was asked for."""
    medium, expert = hopper.role("medium"), hopper.role("expert")
    assert mixture(hopper, "medium", 1001) == [(medium, 1001)]
    assert mixture(hopper, "medium-expert", 1001) == [(medium, 501), (expert, 500)]
    policies, shares = zip(*mixture(hopper, "medium-replay", 1003), strict=True)
    assert list(policies) == list(hopper.policies.values())
    assert sum(shares) == 1003
    assert set(shares) == {100, 101}
    with pytest.raises(ConfigError, match="'expert'"):
        mixture(hopper, "expert", 10)


def test_mixture_is_recorded_part_by_part(parts, recorded, env):
    """Whole episodes of consecutive seeds, and no more of them than needed."""
    seeds = itertools.count(SEED)
    expected = []
    for policy, wanted in parts:
        steps = 0
        while steps < wanted:
            expected.append(record_episode(env, policy, next(seeds)))
            steps += len(expected[-1].rewards)
    assert same_episodes(recorded, expected)


def test_recording_does_not_depend_on_the_workers(parts, recorded):
    """Two workers record what one does, in the same order."""
    again = list(record_mixture("Hopper-v5", parts, SEED, num_workers=2))
    assert same_episodes(recorded, again)


def test_recording_depends_on_the_seed(parts, recorded):
    other = list(record_mixture("Hopper-v5", parts[:1], SEED + 500, num_workers=1))
    assert other[0].seed == SEED + 500
    assert not np.array_equal(other[0].observations, recorded[0].observations)
    assert not np.array_equal(other[0].actions[0], recorded[0].actions[0])


# --- whole datasets


def test_generated_dataset(tmp_path, hopper):
    """What is reported, Minari and the HDF5 file agree; a second one is refused."""
    root, hdf5 = str(tmp_path / "root"), tmp_path / "medium.hdf5"
    options = {"root": root, "hdf5": hdf5, "num_workers": 1}
    summary = generate_dataset("hopper-medium", 300, SEED, **options)
    local, stored = load_minari(summary.dataset_id, root)[0], load_d4rl_hdf5(hdf5)[0]
    for name in (*EPISODE_ARRAYS, "terminals", "timeouts", "starts"):
        np.testing.assert_array_equal(getattr(local, name), getattr(stored, name))
    assert summary.dataset_id == "ractd/hopper/medium-v0"
    assert summary.episodes == local.num_episodes
    assert summary.transitions == local.num_transitions >= 300
    assert summary.transitions - local.lengths[-1] < 300
    assert summary.return_mean == pytest.approx(local.returns.mean(), rel=1e-5)
    quartiles = np.quantile(local.returns, (0.25, 0.5, 0.75))
    np.testing.assert_allclose(summary.return_quartiles, quartiles, rtol=1e-5)

    before = hdf5.read_bytes()
    with pytest.raises(DataError, match="ractd/hopper/medium-v0") as caught:
        generate_dataset("hopper-medium", 300, SEED, **options)
    assert root in str(caught.value)
    assert hdf5.read_bytes() == before


@pytest.mark.parametrize("task", ["hopper", "hopper-random", "ant-medium", ""])
def test_unknown_task_is_refused(tmp_path, task):
    """Before anything is recorded; the tasks that can be made are listed."""
    with pytest.raises(ConfigError, match="'hopper-medium-replay'"):
        generate_dataset(task, 100, 0, root=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_dataset_ids():
    assert dataset_id("hopper-medium-expert") == "ractd/hopper/medium-expert-v0"
