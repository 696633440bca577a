"""The same data under another name on resume, and loggers that are not installed."""

import dataclasses
import importlib.util
import json

import numpy as np
import pytest

from ractd_jax.data.sources import make_dataset
from ractd_jax.errors import CheckpointError, ConfigError
from ractd_jax.storage.workdir import check_resumed
from ractd_jax.training.loop import train
from ractd_jax.training.stages import plan_stage
from tests.toys import toy_dataset, toy_settings


def stage_of(dataset, **names):
    small = {"kind": "mlp", "mlp_width": 8, "embed_dim": 8}
    settings = toy_settings(1, network=small, dataset=names)
    return plan_stage("teacher", settings, dataset), settings


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished training on data by a relative path."""
    folder = tmp_path_factory.mktemp("resumed") / "run"
    stage, settings = stage_of(toy_dataset(), source="d4rl", path="data/a.hdf5")
    train(stage, settings.run, 0, folder)
    return folder


def test_the_same_data_by_another_name_goes_on(trained, tmp_path):
    for names in (
        {"source": "d4rl", "path": str(tmp_path / "b.hdf5")},
        {"source": "minari", "id": "made/up-v0", "root": "somewhere"},
    ):
        stage, settings = stage_of(toy_dataset(), **names)
        assert int(train(stage, settings.run, 0, trained).step) == 1
    stored = json.loads((trained / "config.json").read_text())["dataset"]
    assert stored["id"] == "made/up-v0" and stored["root"].startswith("/")


def test_other_data_by_another_name_is_refused_and_nothing_changes(trained):
    before = (trained / "config.json").read_text()
    episodes = toy_dataset().episodes
    other = dataclasses.replace(episodes, rewards=episodes.rewards + np.float32(1))
    stage, settings = stage_of(make_dataset("toy", other), source="d4rl", path="c")
    with pytest.raises(CheckpointError, match="trained on other data"):
        train(stage, settings.run, 0, trained)
    assert (trained / "config.json").read_text() == before


def test_without_a_digest_another_name_is_another_config(tmp_path):
    renamed = [("dataset.path", "a.hdf5", "b.hdf5")]
    known = {"dataset": {"sha256": "1"}, "windows": {"critic": {"sha256": "2"}}}
    unknown = {"dataset": {"name": "a.hdf5"}}
    check_resumed(tmp_path, known, known, False, renamed)
    check_resumed(tmp_path, known, known, False, [("dataset.critic", "a", "b")])
    check_resumed(tmp_path, unknown, known, True, renamed)
    with pytest.raises(ConfigError, match="dataset.path: 'a.hdf5' then, 'b.hdf5' now"):
        check_resumed(tmp_path, unknown, known, False, renamed)
    other = {**known, "windows": {"critic": {"sha256": "3"}}}
    with pytest.raises(ConfigError, match="dataset.critic: 'a' then, 'b' now"):
        check_resumed(tmp_path, known, other, False, [("dataset.critic", "a", "b")])


def test_a_logger_that_is_not_installed_is_named_first(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    stage, settings = stage_of(toy_dataset())
    run = dataclasses.replace(settings.run, wandb=True)
    with pytest.raises(ConfigError, match=r"config.run.wandb: .*ractd_jax\[wandb\]"):
        train(stage, run, 0, tmp_path / "new")
    assert not (tmp_path / "new").exists()
