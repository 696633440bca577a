"""A short training's settings and data."""

import pytest

from ractd_jax.data.sources import OfflineDataset
from tests.toys import merged, toy_dataset, toy_settings


def small_settings(**sections):
    """8 steps (the student's 4) in calls of 2."""
    run = {"steps_per_call": 2, "log_every": 2, "checkpoint_every": 2}
    small = {"run": run, "student": {"num_steps": 4}}
    return toy_settings(8, **merged(small, sections))


@pytest.fixture(scope="module")
def dataset() -> OfflineDataset:
    return toy_dataset()
