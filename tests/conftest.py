"""Two forced CPU devices for every test, and one finished smoke pipeline."""

import os
import subprocess
import sys
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

import pytest  # noqa: E402

ROOT = Path(__file__).parents[1]
CONFIG = "configs/hopper_medium_expert.py:smoke"


def run_main(name: str, *flags: str, check: bool = True):
    """Runs ``python -m experiments.NAME`` in the repository, as a user would."""
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if check and done.returncode:
        raise AssertionError(f"{name} failed:\n{done.stdout}\n{done.stderr[-4000:]}")
    return done


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory) -> Path:
    """Workdir of a finished pipeline at the smoke preset."""
    workdir = tmp_path_factory.mktemp("smoke") / "run"
    done = run_main("pipeline", f"--config={CONFIG}", f"--workdir={workdir}")
    (workdir / "stdout.txt").write_text(done.stdout)
    return workdir
