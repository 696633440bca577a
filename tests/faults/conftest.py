"""A short training, and its whole run."""

import json
from pathlib import Path

import pytest

from benchmarks.chaos_pipeline import chaos_settings, write_data
from benchmarks.corruptions import tree_digest
from ractd_jax.data.sources import load_resolved
from ractd_jax.training.loop import train
from ractd_jax.training.stages import reward_stage

CALLS = 6
LAST = 10 * CALLS


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "data.hdf5"
    write_data(path)
    return path


@pytest.fixture(scope="module")
def resolved(data):
    return load_resolved(chaos_settings(data, CALLS))


@pytest.fixture(scope="module")
def stage(resolved):
    return reward_stage(*resolved)


@pytest.fixture(scope="module")
def settings(resolved):
    return resolved[0]


@pytest.fixture(scope="module")
def whole(stage, settings, tmp_path_factory):
    """(folder of an undisturbed training, digest of its last state)."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, tree_digest(train(stage, settings.run, settings.seed, folder))


def logged_steps(folder) -> list[int]:
    rows = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(row)["step"] for row in rows]


def go_on(stage, settings, folder) -> str:
    """Trains to the end; digest of the last state. Every step must be logged once."""
    state = train(stage, settings.run, settings.seed, folder)
    assert logged_steps(folder) == list(range(10, LAST + 1, 10))
    return tree_digest(state)
