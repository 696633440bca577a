"""The same training on 1, 2 and 4 devices and in two processes; real processes."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from ractd_jax.storage.checkpoint import StoredModel
from ractd_jax.training.parallel import Part
from ractd_jax.training.stages import make_stage
from ractd_jax.training.streaming import batches_of_call
from tests.conftest import CONFIG, ROOT, run_main
from tests.toys import toy_dataset, toy_settings

STAGES = ("teacher", "reward", "student")
STEPS = 20


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def start(module: str, *arguments: str, devices: int = 1) -> subprocess.Popen:
    flags = os.environ["XLA_FLAGS"].split()
    flags = [flag for flag in flags if "device_count" not in flag]
    flags.append(f"--xla_force_host_platform_device_count={devices}")
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": " ".join(flags)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes: subprocess.Popen) -> None:
    for process in processes:
        output, _ = process.communicate(timeout=900)
        assert process.returncode == 0, output[-3000:]


def train_toy(folder, *, devices: int = 1, processes: int = 1, steps: int = STEPS):
    if processes == 1:
        finish(start("tests.train_toy", str(folder), str(steps), devices=devices))
        return
    address = f"localhost:{free_port()}"
    finish(
        *(
            start(
                "tests.train_toy",
                *(str(folder), str(steps), address, str(processes), str(index)),
                devices=devices,
            )
            for index in range(processes)
        )
    )


def losses(folder, stage: str) -> np.ndarray:
    """[rows, scalars] of what was logged, times left out."""
    lines = (folder / stage / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    names = [name for name in rows[0] if name.split("/")[0] in ("loss", "grad")]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    return np.array([[row[name] for name in names] for row in rows])


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The stages on one device of one process."""
    folder = tmp_path_factory.mktemp("alone")
    train_toy(folder)
    return folder


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits(alone, tmp_path):
    train_toy(tmp_path)
    for stage in STAGES:
        np.testing.assert_array_equal(losses(tmp_path, stage), losses(alone, stage))


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "devices"), [(1, 2), (1, 4), (2, 1)])
def test_loss_curves_do_not_depend_on_the_devices(alone, tmp_path, processes, devices):
    train_toy(tmp_path, processes=processes, devices=devices)
    for stage in STAGES:
        np.testing.assert_allclose(
            losses(tmp_path, stage), losses(alone, stage), rtol=1e-5, err_msg=stage
        )
    found = json.loads((tmp_path / "teacher/environment.json").read_text())["devices"]
    assert len(found) == processes * devices


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(2, 1), (1, 2)])
def test_another_number_of_processes_resumes_a_checkpoint(
    alone, tmp_path, first, second
):
    """10 steps in one or two processes, 10 more in two or one."""
    folder = tmp_path / "run"
    if first == 1:
        shutil.copytree(alone, folder)
    else:
        train_toy(folder, processes=first)
    shutil.rmtree(folder / "teacher/checkpoints/20")
    assert StoredModel(folder / "teacher").step == 10
    train_toy(folder, processes=second)
    np.testing.assert_allclose(
        losses(folder, "teacher"), losses(alone, "teacher"), rtol=1e-5
    )
    assert StoredModel(folder / "teacher").step == 20


@pytest.mark.slow
def test_the_others_stop_when_a_process_dies(tmp_path):
    """Within a minute, naming it."""
    address = f"localhost:{free_port()}"
    others, killed = (
        start("tests.train_toy", str(tmp_path), "100000", address, "2", str(index))
        for index in range(2)
    )
    log = tmp_path / "teacher/metrics.jsonl"
    while not (log.exists() and log.read_text().count("\n") > 5):
        assert others.poll() is None, others.communicate()[0][-3000:]
        time.sleep(0.2)
    killed.kill()
    output, _ = others.communicate(timeout=60)
    assert others.returncode != 0 and "Task 1" in output
    killed.communicate()


@pytest.mark.parametrize(
    ("name", "axis"),
    [("teacher", 0), ("reward", 1)],
)
def test_streamed_parts_are_the_whole_batch(name, axis):
    settings = toy_settings(dataset={"streaming": True})
    stage = make_stage(name, settings, toy_dataset())
    whole = batches_of_call(stage, 0, 3, 2, [Part(0, 1)])
    parts = batches_of_call(stage, 0, 3, 2, [Part(i, 4) for i in range(4)])
    for leaf, of_parts in zip(
        jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True
    ):
        joined = np.concatenate(list(of_parts), axis=1 + axis)
        np.testing.assert_array_equal(joined, leaf[0])


def test_the_jobs_flags_are_checked(tmp_path):
    """Before anything is read or written."""
    common = f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}"
    for flags, message in (
        (["--coordinator=localhost:1"], "--coordinator: expected --distributed"),
        (["--distributed", "--num_processes=2"], "--coordinator: expected with"),
        (
            [
                *("--distributed", "--coordinator=localhost:1"),
                *("--num_processes=2", "--process_index=2"),
            ],
            "--process_index: expected less than --num_processes = 2, found 2",
        ),
    ):
        done = run_main("train_teacher", *common, *flags, check=False)
        assert done.returncode == 1 and message in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()
