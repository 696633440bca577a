"""Environments in processes of their own: the same episodes, and clear failures."""

import multiprocessing

import numpy as np
import pytest

from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.rollout import run_episodes
from ractd_jax.evaluation.workers import EnvironmentProcess
from ractd_jax.settings import Environment

HOPPER = Environment("Hopper-v5")
DIMS = Dimensions(observation=11, action=3, history=2, horizon=16)


class Leaning:
    """Acts on an episode's last two observations alone; counts its calls.

    By sums, products and bounds of numpy, which round alike in a batch of any size.
    """

    compile_seconds = 0.0

    def __init__(self):
        self.batches = []

    def act(self, observations, episodes, step):
        self.batches.append(episodes.tolist())
        assert observations.shape == (len(episodes), 2, 11)
        change = observations[:, 1] - observations[:, 0]
        leaning = observations[:, 1, :3] + change[:, 5:8] + 0.1 * episodes[:, None]
        return np.clip(leaning, -1.0, 1.0)


def test_workers_play_the_same_episodes():
    """Episodes end at different steps: groups shrink, and one ends before the other."""
    alone, shared, steps = Leaning(), Leaning(), []
    expected = run_episodes(alone, DIMS, HOPPER, 3 + np.arange(5))
    found = run_episodes(
        shared,
        DIMS,
        HOPPER,
        3 + np.arange(5),
        on_step=lambda *seen: steps.append(seen),
        num_workers=2,
    )
    for name in ("returns", "lengths", "seeds", "running_max_returns"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert len(set(expected.lengths.tolist())) > 1
    assert shared.batches[:2] == [[0, 1, 2], [3, 4]]
    assert steps[0] == (1, 5) and steps[-1] == (expected.lengths.max(), 0)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_more_workers_than_episodes():
    found = run_episodes(Leaning(), DIMS, HOPPER, np.array([3]), num_workers=3)
    assert found.lengths[0] > 0


def test_a_workers_exception_is_raised_in_the_main_process():
    with pytest.raises(ConfigError, match="Hoper"):
        run_episodes(
            Leaning(), DIMS, Environment("Hoper-v5"), np.arange(2), num_workers=1
        )
    wrong = Dimensions(observation=17, action=6, history=1, horizon=16)
    with pytest.raises(ConfigError, match="17-dimensional observations"):
        run_episodes(Leaning(), wrong, HOPPER, np.arange(2), num_workers=1)
    assert not multiprocessing.active_children()


def test_a_killed_worker_is_reported():
    environments = EnvironmentProcess(HOPPER, 2, DIMS)
    environments.reset([0, 1])
    (child,) = multiprocessing.active_children()
    child.kill()
    with pytest.raises(RuntimeError, match="exit code -9"):
        environments.start_step(np.zeros((2, 3)))
        environments.finish_step()
    environments.close()
