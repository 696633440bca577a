"""What faults leave behind: kills, signals, full disks, damaged and foreign files."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks.chaos import run_kills, start, wait_for
from benchmarks.corruptions import (
    KINDS,
    check_corruptions,
    check_resumed_trainings,
    corrupt,
    stop_at,
    train_until,
    tree_digest,
)
from ractd_jax.errors import CheckpointError, WorkdirError
from ractd_jax.storage.checkpoint import StoredModel
from ractd_jax.storage.workdir import training_folder
from ractd_jax.training.interruption import Interrupted, interruptible
from ractd_jax.training.loop import train
from ractd_jax.training.stages import plan_stage
from tests.conftest import ROOT
from tests.faults.conftest import CALLS, LAST, go_on


@pytest.mark.parametrize("step", [10, 40])
def test_a_stopped_training_goes_on_bit_for_bit(stage, settings, whole, tmp_path, step):
    """At a step that is saved anyway, and at one that is not."""
    train_until(stage, settings, tmp_path, step)
    assert StoredModel(tmp_path).step == step
    assert go_on(stage, settings, tmp_path) == whole[1]


def test_a_signal_at_the_last_step_stops_the_next_stage(stage, settings, tmp_path):
    with pytest.raises(Interrupted, match=f"reward: stopped by SIGTERM.*{LAST} of"):
        train(stop_at(stage, LAST), settings.run, settings.seed, tmp_path)
    assert StoredModel(tmp_path).step == LAST


def test_a_second_signal_reaches_the_earlier_handler():
    def ours(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, ours)
    try:
        with interruptible() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.signal == "SIGINT"
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(1)
        with pytest.raises(Interrupted, match="by SIGINT at step 3 of 4; the same"):
            stop.raise_at("teacher", 3, 4)
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
def test_sigterm_stops_the_real_process_between_two_calls(data, resolved, tmp_path):
    """Exit code 0, no later stage; what goes on from there ends in the same state."""
    workdir = tmp_path / "stopped"
    process = start(data, workdir, Path(jax.config.jax_compilation_cache_dir), CALLS)
    assert wait_for(process, (workdir / "teacher/metrics.jsonl").exists)
    process.terminate()
    assert process.wait() == 0
    log = (workdir / "log.txt").read_text()
    assert "teacher: stopped by SIGTERM at step" in log
    assert "the same command goes on from there" in log and "Traceback" not in log
    assert not (workdir / "reward").exists()
    settings, dataset = resolved
    teacher = plan_stage("teacher", settings, dataset)
    whole = train(teacher, settings.run, settings.seed, tmp_path / "whole")
    assert go_on(teacher, settings, workdir / "teacher") == tree_digest(whole)


@pytest.mark.slow
def test_kills_lose_nothing(tmp_path):
    counts = run_kills(tmp_path, kills=3, calls=10, seed=1)
    assert counts["errors"] == [] and counts["kills"] == 3
    assert counts["identical"] == counts["pipelines"] >= 1


@pytest.mark.slow
def test_every_damage_is_found(stage, settings, whole, tmp_path):
    train_until(stage, settings, tmp_path / "cut", 40)
    counts = check_corruptions(stage, tmp_path / "cut", tmp_path, 40)
    assert counts["loaded_damaged"] == []
    assert counts["found"] == dict.fromkeys(KINDS, 4)
    assert counts["older_taken"] == 32 and counts["refused"] == 8
    resumed = check_resumed_trainings(
        stage, settings, tmp_path / "cut", whole[1], tmp_path, 2
    )
    assert resumed == {"made": 2, "identical": 2}


def test_damage_is_named_and_reading_changes_nothing(stage, settings, tmp_path, caplog):
    train_until(stage, settings, tmp_path, 40)
    folder = tmp_path / "checkpoints"
    rng = np.random.default_rng(0)

    def listing():
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    file = corrupt(folder, 40, "truncation", rng)
    before = listing()
    with caplog.at_level(logging.WARNING, logger="absl"):
        assert StoredModel(tmp_path).step == 20
    assert f"{file.removeprefix('40/')}: expected" in caplog.text
    assert listing() == before
    corrupt(folder, 20, "deletion", rng)
    message = rf"{folder}: none of the checkpoints \[40, 20\].*{file}"
    with pytest.raises(CheckpointError, match=message):
        train(stage, settings.run, settings.seed, tmp_path)
    # Neither was removed, as neither could be read.
    assert {path.name for path in folder.iterdir()} == {"20", "40"}


def test_a_checkpoint_without_its_manifest_is_damaged(stage, settings, tmp_path):
    train_until(stage, settings, tmp_path, 20)
    (tmp_path / "checkpoints/20/sha256.json").unlink()
    message = "expected the checkpoint's manifest, found none"
    with pytest.raises(CheckpointError, match=message):
        StoredModel(tmp_path)


def test_what_a_kill_leaves_is_cleared_away(stage, settings, whole, tmp_path):
    train_until(stage, settings, tmp_path, 30)
    left = tmp_path / "checkpoints/40.saving.orbax-checkpoint-tmp", tmp_path / "x"
    (left[0] / "params").mkdir(parents=True)
    (tmp_path / "checkpoints/10.removed").mkdir()
    with open(tmp_path / "metrics.jsonl", "a") as log:
        log.write('{"step": 40, "loss/mse": 1.0}\n{"step": 50, "lo')
    assert go_on(stage, settings, tmp_path) == whole[1]
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {str(LAST - 20), str(LAST)}


def test_one_training_in_a_folder_at_a_time(stage, settings, tmp_path):
    """The kernel frees it with the process, however that ends."""
    program = (
        "import sys, time, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "from ractd_jax.storage.workdir import training_folder\n"
        "with training_folder(pathlib.Path(sys.argv[2])):\n"
        "    print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(ROOT), str(tmp_path)],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        message = rf"{tmp_path}: another training.*pid {holder.pid} on \S+"
        with pytest.raises(WorkdirError, match=message):
            train(stage, settings.run, settings.seed, tmp_path)
    finally:
        holder.kill()
        holder.wait()
    for _ in range(2):
        with training_folder(tmp_path):
            pass
