"""Two forced CPU devices for every test, and one finished smoke pipeline."""

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Two devices; and little optimisation, as the tests compile more than they compute.
_FLAGS = {
    "xla_force_host_platform_device_count": "2",
    "xla_backend_optimization_level": "0",
    "xla_cpu_use_fusion_emitters": "false",
    "xla_cpu_parallel_codegen_split_count": "1",
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

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402
from filelock import FileLock  # noqa: E402

from tests.mains import ROOT, run_forked, start_server  # noqa: E402

# How long an example takes says nothing where other work runs on the machine.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

CONFIG = "configs/hopper_medium_expert.py:smoke"
# What smoke_run was made with.
SMOKE_FLAGS = (f"--config={CONFIG}",)
MAZE_STAGES = ("teacher", "ddpm", "reward", "inverse_dynamics", "student")
# Before any test changes it.
ENVIRONMENT = dict(os.environ)


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


def make_smoke_run(folder: Path) -> Path:
    workdir = folder / "run"
    done = run_main("pipeline", *SMOKE_FLAGS, f"--workdir={workdir}", run=run_command)
    (workdir / "stdout.txt").write_text(done.stdout)
    return workdir


def make_maze_run(folder: Path) -> Path:
    run = functools.partial(run_forked, environment=ENVIRONMENT)
    root = folder / "datasets"
    run_main(
        "generate_dataset",
        "--task=pointmaze-umaze",
        "--num_transitions=1000",
        "--num_workers=1",
        f"--root={root}",
        run=run,
    )
    for stage in MAZE_STAGES:
        built_on = [f"--{name}={folder / name}" for name in ("teacher", "reward")]
        run_main(
            "train",
            f"--stage={stage}",
            "--config=configs/maze2d_umaze.py:smoke",
            "--config.network.widths=(8,)",
            f"--config.dataset.root={root}",
            f"--workdir={folder / stage}",
            *(built_on if stage == "student" else []),
            run=run,
        )
    return folder


# Each is made once, by one of the workers (pytest-xdist), beside its tests of other
# files.
LONG = {"smoke_run": make_smoke_run, "maze_run": make_maze_run}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Files that need what takes long come last."""
    names = list(LONG)
    needs = {}
    for item in items:
        needed = [names.index(name) + 1 for name in item.fixturenames if name in LONG]
        needs[item.path] = max([needs.get(item.path, 0), *needed])
    items.sort(key=lambda item: needs[item.path])


@pytest.fixture(scope="session", autouse=True)
def being_made(request, tmp_path_factory):
    """Name -> future folder, of what the chosen tests need."""
    needed = {name for item in request.session.items for name in item.fixturenames}
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    shared = tmp_path_factory.getbasetemp()
    if worker:
        shared = shared.parent
    names = [name for name in LONG if name in needed]
    if worker == "gw1":
        names.reverse()
    with ThreadPoolExecutor(1, initializer=start_server) as pool:
        yield {name: pool.submit(make_once, name, shared) for name in names}
        pool.shutdown(cancel_futures=True)


def make_once(name: str, shared: Path) -> Path:
    """Makes that of LONG, or waits for the worker that makes it."""
    folder, done = shared / name, shared / f"{name}.json"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            folder.mkdir(exist_ok=True)
            made = LONG[name](folder)
            done.write_text(json.dumps(str(made)))
    return Path(json.loads(done.read_text()))


@pytest.fixture(scope="module", autouse=True)
def programs_of_one_file():
    """A thousand tests' programs would fill the memory."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def smoke_run(being_made) -> Path:
    """Workdir of a finished pipeline at the smoke preset."""
    return being_made["smoke_run"].result()


@pytest.fixture(scope="session")
def maze_run(being_made) -> Path:
    """Workdirs of every stage on a maze, at the smoke preset."""
    return being_made["maze_run"].result()
