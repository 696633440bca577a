"""Foreign data and folders, full disks and files that carry code."""

import ast
import dataclasses
import gc
import json
import logging
import resource
import subprocess

import numpy as np
import pytest

from benchmarks.chaos_pipeline import STAGES
from benchmarks.corruptions import (
    KINDS,
    train_until,
)
from ractd_jax.errors import CheckpointError, ConfigError, WorkdirError
from ractd_jax.files import write_json
from ractd_jax.storage.checkpoint import StoredModel
from ractd_jax.storage.trained import check_same_data
from ractd_jax.training.loop import train
from ractd_jax.training.stages import reward_stage
from ractd_jax.training.stages.base import base_metadata
from tests.conftest import ROOT
from tests.faults.conftest import LAST, go_on


def other_data(dataset):
    """The dataset with one reward changed in its last bit."""
    rewards = dataset.episodes.rewards.copy()
    rewards[7] = np.nextafter(rewards[7], np.float32(np.inf))
    episodes = dataclasses.replace(dataset.episodes, rewards=rewards)
    return dataclasses.replace(dataset, episodes=episodes)


def test_changed_data_is_refused(resolved, whole, stage, tmp_path, caplog):
    settings, dataset = resolved
    other = other_data(dataset)
    assert dataset.episodes.sha256 != other.episodes.sha256
    message = f"{tmp_path}: was trained on other data than dataset '{dataset.name}'"
    train_until(stage, settings, tmp_path, 20)
    changed = reward_stage(settings, other)
    with pytest.raises(CheckpointError, match=message):
        train(changed, settings.run, settings.seed, tmp_path)
    with caplog.at_level(logging.WARNING, logger="absl"):
        train(changed, settings.run, settings.seed, tmp_path, allow_config_change=True)
    assert "other data" in caplog.text
    metadata = base_metadata("student", settings, other)
    message = f"{whole[0]}: was trained on other data"
    with pytest.raises(CheckpointError, match=message):
        check_same_data(StoredModel(whole[0]), metadata)


def test_a_model_without_a_digest_of_its_data_is_warned_of(
    resolved, stage, tmp_path, caplog
):
    settings, _ = resolved
    metadata = json.loads(json.dumps(stage.metadata))
    del metadata["dataset"]["sha256"]
    old = dataclasses.replace(stage, metadata=metadata)
    train_until(old, settings, tmp_path, 10)
    with caplog.at_level(logging.WARNING, logger="absl"):
        train_until(stage, settings, tmp_path, 20)
    assert "no digest of the data" in caplog.text


def test_another_config_is_refused_unless_allowed(resolved, tmp_path, caplog):
    settings, dataset = resolved
    train_until(reward_stage(settings, dataset), settings, tmp_path, 10)
    reward = dataclasses.replace(settings.reward, discount=0.5)
    other = dataclasses.replace(settings, reward=reward)
    changed = reward_stage(other, dataset)
    with pytest.raises(ConfigError, match=r"reward\.discount: 0\.997.*--allow_config"):
        train(changed, other.run, 0, tmp_path)
    with caplog.at_level(logging.WARNING, logger="absl"):
        train(changed, other.run, 0, tmp_path, allow_config_change=True)
    assert "the config changes: reward.discount: 0.997 then, 0.5 now" in caplog.text
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["reward"]["discount"] == 0.5
    # As one that is older than a setting, whose default is what was done then.
    del config["reward"]["holdout_fraction"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    train(changed, other.run, 0, tmp_path)
    (tmp_path / "config.json").write_text('{"task"')
    with pytest.raises(ConfigError, match=r"config\.json: expected the config"):
        train(changed, other.run, 0, tmp_path)


def test_calls_of_another_length_must_fit_the_checkpoint(stage, settings, tmp_path):
    train_until(stage, settings, tmp_path, 10)
    run = dataclasses.replace(
        settings.run, steps_per_call=20, log_every=20, checkpoint_every=20
    )
    with pytest.raises(ConfigError, match=r"steps_per_call: expected a divisor of 10"):
        train(stage, run, 0, tmp_path)


def test_an_unusable_folder_is_named(stage, settings, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for workdir in (file, file / "below"):
        with pytest.raises(WorkdirError, match=f"{workdir}: expected a folder"):
            train(stage, settings.run, settings.seed, workdir)


def test_a_workdir_with_square_brackets_is_refused(stage, settings, tmp_path):
    folder = tmp_path / "width [16]"
    with pytest.raises(WorkdirError, match="without square brackets"):
        train(stage, settings.run, settings.seed, folder)
    assert not folder.exists()


@pytest.fixture
def mounted(tmp_path):
    """Mounts a tmpfs of its own with the options that it is called with."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs the right to mount a tmpfs")
        return folder

    yield mount
    subprocess.run(["umount", "-l", str(folder)], capture_output=True)


def test_a_folder_that_cannot_be_written(stage, settings, mounted):
    folder = mounted("ro")
    with pytest.raises(WorkdirError, match=f"{folder}.*Read-only file system"):
        train(stage, settings.run, settings.seed, folder / "run")


# Files whose last lines did not fit are closed by the garbage collector: here, once
# there is room, and not in whatever test runs when it would have come by.
closes_what_could_not_be_written = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


@closes_what_could_not_be_written
@pytest.mark.parametrize(
    "room", [16, 120, pytest.param(220, marks=pytest.mark.slow), 300]
)
def test_full_disk_is_one_error_and_costs_nothing(
    stage, settings, whole, mounted, room
):
    """Too small for anything, for a first and for a second checkpoint [KiB]."""
    folder = mounted(f"size={room}k")
    workdir = folder / "run"
    with pytest.raises((WorkdirError, CheckpointError)) as caught:
        train(stage, settings.run, settings.seed, workdir)
    assert str(folder) in str(caught.value)
    assert "space" in str(caught.value), caught.value
    mounted("remount,size=64m")
    del caught
    gc.collect()
    assert go_on(stage, settings, workdir) == whole[1]
    names = {path.name for path in (workdir / "checkpoints").iterdir()}
    assert names == {str(LAST - 20), str(LAST)}


@closes_what_could_not_be_written
def test_file_that_cannot_grow_is_one_error_and_costs_nothing(
    stage, settings, whole, tmp_path
):
    """The same without the right to mount: no file may have more than 2 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        with pytest.raises(
            (WorkdirError, CheckpointError), match="too large"
        ) as caught:
            train(stage, settings.run, settings.seed, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    del caught
    gc.collect()
    assert go_on(stage, settings, tmp_path) == whole[1]


def test_json_that_cannot_be_written_leaves_nothing(mounted):
    folder = mounted("size=4k")
    with pytest.raises(OSError, match="space"):
        write_json(folder / "config.json", ["x" * 100_000])
    assert list(folder.iterdir()) == []


def unsafe_reads(source: str) -> list[str]:
    """What in `source` could run code that a file brings along."""
    pickles = {"pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal"}
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
            found += sorted(names & pickles)
        elif isinstance(node, ast.ImportFrom):
            found += sorted({(node.module or "").partition(".")[0]} & pickles)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if called in ("np.load", "numpy.load", "jnp.load"):
                if given.get("allow_pickle") != "False":
                    found.append(ast.unparse(node))
            elif called == "torch.load" and given.get("weights_only") != "True":
                found.append(ast.unparse(node))
            elif given.get("allow_pickle", "False") != "False":
                found.append(ast.unparse(node))
    return found


def test_nothing_that_is_read_can_bring_code():
    bad = "import joblib.x\nfrom pickle import loads\nnp.load(f)\ntorch.load(f)"
    assert len(unsafe_reads(bad)) == 4
    assert unsafe_reads("np.load(f, allow_pickle=False)") == []
    for part in ("ractd_jax", "experiments", "configs", "benchmarks"):
        for path in sorted((ROOT / part).rglob("*.py")):
            assert unsafe_reads(path.read_text()) == [], path


def test_stages_of_the_chaos_script():
    assert STAGES == ("teacher", "reward", "student") and len(set(KINDS)) == 10
