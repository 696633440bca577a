"""The wheel installs on every Python that is here, and plays without a checkout."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.mains import ROOT

VERSIONS = ("3.12", "3.13")
POLICY = "hopper-medium-replay"


def find_python(version: str) -> str | None:
    """An interpreter of that version: on the path, or one that pyenv keeps."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    kept = sorted((root / "versions").glob(f"{version}.*/bin/python"))
    for python in (shutil.which(f"python{version}"), *map(str, kept)):
        # On the path may be pyenv's shim of a version that is not chosen.
        if (
            python
            and not subprocess.run([python, "-V"], capture_output=True).returncode
        ):
            return python
    return None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "ractd_jax", source / "ractd_jax")
    for name in ("setup.py", "README.md", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--wheel-dir", folder, source]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_what_the_package_reads(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "ractd_jax/py.typed" in names
    for kind in ("policies/*.zip", "tasks/assets/*.npz", "recording/assets/*.npz"):
        files = list((ROOT / "ractd_jax").glob(kind))
        assert files
        assert {str(file.relative_to(ROOT)) for file in files} <= names
    assert not any(name.startswith(("tests/", "experiments/")) for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_installs_and_plays(wheel, version, tmp_path):
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    venv, work = tmp_path / "venv", tmp_path / "work"
    subprocess.run([python, "-m", "venv", venv], check=True)
    install = [venv / "bin/pip", "install", "--quiet", "--no-compile", wheel]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2_000:]
    work.mkdir()
    kept = ("PATH", "HOME", "JAX_COMPILATION_CACHE_DIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    command = [venv / "bin/python", "-m", "ractd_jax", "play", f"--policy={POLICY}"]
    done = subprocess.run(
        [*command, "--num_episodes=1", "--video=0"],
        cwd=work,
        env={**environment, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    result = json.loads(done.stdout[done.stdout.index("{") :])
    assert result["episodes"] == 1 and result["failed_episodes"] == 0
    assert result["score_mean"] > 50.0
