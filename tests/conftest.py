"""Two forced CPU devices for every test, and one finished smoke pipeline."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Two devices; and little optimisation, as the tests compile more than they compute.
_FLAGS = {
    "xla_force_host_platform_device_count": "2",
    "xla_backend_optimization_level": "0",
    "xla_cpu_use_fusion_emitters": "false",
}
_given = os.environ.get("XLA_FLAGS", "")
_more = [f"--{name}={value}" for name, value in _FLAGS.items() if name not in _given]
os.environ["XLA_FLAGS"] = " ".join([_given, *_more])
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# What one test or process of the session compiled, the others read.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = tempfile.mkdtemp(prefix="ractd_jax_tests_")
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import pytest  # noqa: E402

from tests.mains import ROOT, run_forked  # noqa: E402

CONFIG = "configs/hopper_medium_expert.py:smoke"
# What smoke_run was made with.
SMOKE_FLAGS = (f"--config={CONFIG}",)


def run_main(name: str, *flags: str, check: bool = True, run=run_forked):
    """Runs ``python -m experiments.NAME`` in the repository, as a user would."""
    done = run(f"experiments.{name}", *flags)
    if check and done.returncode:
        raise AssertionError(f"{name} failed:\n{done.stdout}\n{done.stderr[-4000:]}")
    return done


def run_command(module: str, *flags: str) -> subprocess.CompletedProcess:
    """The command itself, imports and all."""
    command = [sys.executable, "-m", module, *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory) -> Path:
    """Workdir of a finished pipeline at the smoke preset."""
    workdir = tmp_path_factory.mktemp("smoke") / "run"
    done = run_main("pipeline", *SMOKE_FLAGS, f"--workdir={workdir}", run=run_command)
    (workdir / "stdout.txt").write_text(done.stdout)
    return workdir
