"""Mains in processes of their own, which fork from one that has imported everything.

Each has its own flags, devices and exit code, as ``python -m`` gives it, without the
seconds that importing JAX takes every time. Before it forks, the server has no device.
"""

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]

_mine = threading.local()


def start_server() -> subprocess.Popen:
    """This thread's server; it ends with this process."""
    if not hasattr(_mine, "server"):
        _mine.server = subprocess.Popen(
            [sys.executable, "-m", "tests.mains"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    return _mine.server


def run_forked(module: str, *flags: str, environment=None):
    """``python -m MODULE FLAGS`` in the repository, with what it printed.

    Args:
      module: of the main.
      flags: of the main.
      environment: its variables; None for those of this process.

    Returns:
      As of subprocess.run.
    """
    server = start_server()
    with tempfile.TemporaryDirectory() as folder:
        printed = [os.path.join(folder, name) for name in ("stdout", "stderr")]
        job = [module, flags, environment or dict(os.environ), printed]
        print(json.dumps(job), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        texts = [Path(path).read_text() for path in printed]
    return subprocess.CompletedProcess([module, *flags], code, *texts)


def _next_job():
    """The next job, in a process of its own; the server itself ends with its input."""
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()


def _run(module, flags, environment, printed) -> None:
    for descriptor, path in zip((0, 1, 2), (os.devnull, *printed), strict=True):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    # What an interpreter does with it when it starts.
    sys.path[:0] = [p for p in environment.get("PYTHONPATH", "").split(":") if p]
    sys.argv = [module, *flags]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for name in ("evaluate", "maze_table", "pipeline", "sweep"):
        importlib.import_module(f"experiments.{name}")
    importlib.import_module("matplotlib.figure")
    for name in [name for name in sys.modules if name.startswith("experiments")]:
        del sys.modules[name]  # Each process has its own.
    gc.freeze()
    # JAX warns of forks; none of its threads has started.
    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
    _run(*_next_job())
