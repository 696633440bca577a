"""Hardware and versions, to be written beside a measurement."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import jax


def machine() -> dict:
    """Hardware and versions, for every report."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line for line in file if line.startswith("model name")]
        name = lines[0].split(":")[1].strip()
    except (OSError, IndexError):
        pass
    versions = {}
    for package in ("jax", "jaxlib", "flax", "numpy", "torch", "gymnasium", "mujoco"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "processor": name,
        "cores": len(os.sched_getaffinity(0)),
        "devices": [str(device) for device in jax.local_devices()],
        "python": platform.python_version(),
        **versions,
    }


def commit() -> str | None:
    """The checked-out commit of this package's repository; None outside of one."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
        )
    except OSError:
        return None
    return done.stdout.strip() or None
