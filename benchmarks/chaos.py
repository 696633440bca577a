"""Kills a pipeline again and again, damages checkpoints, and looks what is lost.

  python -m benchmarks.chaos --kills=30 --corruptions=200 --output=chaos.json

The kills are SIGKILLs of the whole process: at any time, while it trains, and in the
middle of saves. Each is followed by the same command. What comes out must be, bit for
bit, what a run without kills ends in.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orbax.checkpoint as ocp
from absl import app, flags, logging

from benchmarks.chaos_pipeline import STAGES, chaos_settings, write_data
from benchmarks.corruptions import (
    check_corruptions,
    check_resumed_trainings,
    train_until,
    tree_digest,
)
from ractd_jax.compilation_cache import use_compilation_cache
from ractd_jax.data.sources import load_resolved
from ractd_jax.files import write_json
from ractd_jax.machine import commit, machine
from ractd_jax.storage.checkpoint import FOLDER
from ractd_jax.training.loop import train
from ractd_jax.training.stages import plan_stage

FLAGS = flags.FLAGS
MODES = ("any time", "training", "save", "save")
_LONGEST_SECONDS = 600


def start(data: Path, workdir: Path, cache: Path, calls: int) -> subprocess.Popen:
    """The pipeline in a process of its own; its compiled programs are in `cache`."""
    flags = [f"--data={data}", f"--workdir={workdir}", f"--calls={calls}"]
    environment = {
        # The same programs in every process, and most of all soon.
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.01",
    }
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / "log.txt", "a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.chaos_pipeline", *flags],
            cwd=Path(__file__).parents[1],
            env=environment,
            stdout=log,
            stderr=log,
        )


def wait_for(process: subprocess.Popen, condition) -> bool:
    """Polls until the condition holds; False if the process ends before."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while process.poll() is None:
        if condition():
            return True
        if time.monotonic() > deadline:
            process.kill()
            raise TimeoutError(f"the pipeline still runs after {_LONGEST_SECONDS} s")
        time.sleep(0.001)
    return False


def checkpoints(workdir: Path) -> set[str]:
    """Names in the stages' checkpoint folders, unfinished ones included."""
    return {
        f"{stage}/{name}"
        for stage in STAGES
        for name in _names(workdir / stage / FOLDER)
    }


def _names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


def saving(workdir: Path) -> set[str]:
    return {name for name in checkpoints(workdir) if ".saving" in name}


def await_moment(
    process: subprocess.Popen, workdir: Path, mode: str, seconds: float, rng
) -> None:
    """Returns when it is time to kill, or when the process has ended."""
    if mode == "any time":
        end = time.monotonic() + rng.uniform(0, seconds)
        wait_for(process, lambda: time.monotonic() > end)
        return
    before = checkpoints(workdir)
    wait_for(process, lambda: checkpoints(workdir) - before)
    if mode == "training":
        end = time.monotonic() + rng.uniform(0, seconds / 4)
        wait_for(process, lambda: time.monotonic() > end)
        return
    for _ in range(rng.randint(0, 4)):
        seen = saving(workdir)
        wait_for(process, lambda seen=seen: saving(workdir) - seen)
    time.sleep(rng.uniform(0, 0.08))


def kill(process: subprocess.Popen, workdir: Path, rng, counts: dict) -> None:
    """SIGKILL; and sometimes half a row, as a machine that dies would leave."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    counts["kills"] += 1
    counts["in_a_save"] += bool(saving(workdir))
    begun = [stage for stage in STAGES if (workdir / stage).exists()]
    counts["in_stage"][begun[-1] if begun else "before"] += 1
    logs = [workdir / stage / "metrics.jsonl" for stage in STAGES]
    logs = [log for log in logs if log.exists()]
    if logs and rng.random() < 0.3:
        with open(logs[-1], "a") as log:
            log.write('{"step": 1')
        counts["torn_rows_added"] += 1


def outcome(workdir: Path) -> dict:
    """Digests of the final states, and the logged steps, by stage."""
    found = {}
    for stage in STAGES:
        folder = workdir / stage / FOLDER
        newest = max(int(name) for name in os.listdir(folder))
        items = [
            ocp.StandardCheckpointer().restore(folder / str(newest) / item)
            for item in ("params", "ema_params", "rest")
        ]
        rows = (workdir / stage / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(row)["step"] for row in rows]
        found[stage] = {"step": newest, "sha256": tree_digest(items), "logged": steps}
    return found


def run_kills(folder: Path, kills: int, calls: int, seed: int) -> dict:
    """Runs undisturbed, then with kills until there were `kills` of them.

    A pipeline that ends before the last kill is compared, and another one begins.
    """
    rng = random.Random(seed)
    data, cache = folder / "data.hdf5", folder / "cache"
    write_data(data)
    # The first one compiles; the second one is what is timed and killed.
    for name in ("compiling", "undisturbed"):
        begin = time.monotonic()
        if start(data, folder / name, cache, calls).wait():
            raise RuntimeError((folder / name / "log.txt").read_text()[-2000:])
        seconds = time.monotonic() - begin
    expected = outcome(folder / "undisturbed")
    assert expected == outcome(folder / "compiling")
    every_step = list(range(10, 10 * calls + 1, 10))
    for stage in STAGES:
        assert expected[stage]["logged"] == every_step, expected[stage]
    counts = {"kills": 0, "in_a_save": 0, "torn_rows_added": 0, "errors": []}
    counts["in_stage"] = dict.fromkeys(("before", *STAGES), 0)
    counts |= {"pipelines": 0, "identical": 0, "undisturbed_seconds": round(seconds, 1)}
    while True:
        workdir = folder / f"killed{counts['pipelines']}"
        while True:
            process = start(data, workdir, cache, calls)
            if counts["kills"] < kills:
                mode = MODES[counts["kills"] % len(MODES)]
                await_moment(process, workdir, mode, seconds, rng)
            else:
                process.wait()
            if process.poll() is not None:
                break
            kill(process, workdir, rng, counts)
            logging.info(
                "kill %d (%s): %s", counts["kills"], mode, checkpoints(workdir)
            )
        counts["pipelines"] += 1
        if process.returncode:
            counts["errors"].append((workdir / "log.txt").read_text()[-2000:])
        else:
            counts["identical"] += outcome(workdir) == expected
        logging.info("%s", counts)
        if counts["kills"] >= kills or counts["errors"]:
            return counts


def run_corruptions(folder: Path, count: int, seed: int) -> dict:
    """Damages a teacher's checkpoints; one in ten trainings is trained on, too."""
    data = folder / "data.hdf5"
    if not data.exists():
        write_data(data)
    settings, dataset = load_resolved(chaos_settings(data, calls=8))
    stage = plan_stage("teacher", settings, dataset)
    expected = train(stage, settings.run, settings.seed, folder / "whole")
    train_until(stage, settings, folder / "cut", 60)
    scratch = folder / "scratch"
    found = check_corruptions(stage, folder / "cut", scratch, count, seed)
    found["trained_on"] = check_resumed_trainings(
        stage,
        settings,
        folder / "cut",
        tree_digest(expected),
        scratch,
        max(1, count // 10),
        seed,
    )
    return found


def main(argv):
    del argv
    use_compilation_cache()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        report = {"corruptions": run_corruptions(folder, FLAGS.corruptions, FLAGS.seed)}
        logging.info("%s", report)
        report["kills"] = run_kills(folder, FLAGS.kills, FLAGS.calls, FLAGS.seed)
    report |= {"seed": FLAGS.seed, "commit": commit(), "machine": machine()}
    print(json.dumps(report, indent=2))
    if FLAGS.output:
        write_json(FLAGS.output, report)
    kills, corruptions = report["kills"], report["corruptions"]
    lost = (
        kills["identical"] != kills["pipelines"]
        or corruptions["loaded_damaged"]
        or corruptions["trained_on"]["identical"] != corruptions["trained_on"]["made"]
    )
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    flags.DEFINE_integer("kills", 30, "Kills of a pipeline.")
    flags.DEFINE_integer("corruptions", 200, "Damaged copies of checkpoints.")
    flags.DEFINE_integer("calls", 20, "Calls of ten steps in each stage.")
    flags.DEFINE_integer("seed", 0, "Seed of moments and damage.")
    flags.DEFINE_string("output", None, "JSON file to write.")
    app.run(main)
