"""``python -m ractd_jax COMMAND``: what an installed package runs."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import ractd_jax
from ractd_jax import __main__ as command
from tests.conftest import ROOT
from tests.mains import run_forked


def run(*arguments, code=0):
    done = run_forked("ractd_jax", *map(str, arguments))
    assert done.returncode == code, done.stderr
    return done


def test_presets_become_config_files():
    found = command.with_config(
        ["--preset=hopper_medium:smoke", "--x", "-preset", "any_dataset"]
    )
    path = command.with_config(["--preset="])[0].removesuffix(":")
    assert found == [f"{path}:hopper_medium:smoke", "--x", f"{path}:any_dataset"]


def test_the_commands_are_listed_and_others_refused():
    assert "\n  evaluate " in run("--help").stdout
    refused = run("evalaute", code=1).stderr
    assert refused.startswith("error: expected a command (pipeline, ")
    assert "found 'evalaute'" in refused and refused.count("\n") == 1


def test_a_wrong_preset_is_one_line(tmp_path):
    for name, words in {
        "hoper:cpu": "--preset: expected one of hopper_medium, ",
        "hopper_medium:huge": "preset must be one of",
    }.items():
        refused = run(
            "train",
            "--stage=bc",
            f"--preset={name}",
            f"--workdir={tmp_path / 'new'}",
            code=1,
        ).stderr
        assert words in refused and "Traceback" not in refused
    assert not list(tmp_path.iterdir())


def test_plans_for_given_observations(smoke_run, tmp_path):
    """Printed, and in a file; of a checkpoint and of an exported policy."""
    checkpoint, seen = smoke_run / "ractd", tmp_path / "seen.npy"
    np.save(seen, np.zeros((2, 11), np.float32))
    planner = ractd_jax.load_planner(checkpoint)
    expected = planner.act(np.zeros((2, 11), np.float32), 3)
    printed = run(
        "plan", f"--checkpoint={checkpoint}", f"--observations={seen}", "--seed=3"
    ).stdout
    np.testing.assert_allclose(json.loads(printed), expected, atol=1e-6)
    plans, policy = tmp_path / "plans.npy", tmp_path / "policy.zip"
    run(
        *("plan", f"--checkpoint={checkpoint}", f"--output={plans}"),
        f"--observations={[0.0] * 11}",
    )
    assert np.load(plans).shape == (1, *planner.dims.plan_shape)
    run("export", f"--checkpoint={checkpoint}", f"--output={policy}")
    again = run("plan", f"--checkpoint={policy}", f"--observations={seen}", "--seed=3")
    np.testing.assert_allclose(json.loads(again.stdout), expected, atol=1e-5)
    for given in ("[1, x]", policy, tmp_path / "none.npy"):
        asked = "plan", f"--checkpoint={checkpoint}", f"--observations={given}"
        refused = run(*asked, code=1).stderr
        assert "--observations: expected a .npy file or a list of num" in refused
        assert refused.count("\n") == 1


@pytest.mark.slow
def test_an_installed_package_needs_no_checkout(tmp_path):
    """A wheel in a folder of blanks and umlauts, no HOME, no write access, any cwd."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "ractd_jax", source / "ractd_jax")
    for name in ("setup.py", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    built = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    built += ["--wheel-dir", tmp_path / "wheel", source]
    subprocess.run(built, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    site, work = tmp_path / "Büro platz" / "site", tmp_path / "Läufe hier"
    unpack = [sys.executable, "-m", "zipfile", "-e", wheel, site]
    subprocess.run(unpack, check=True)
    for path in site.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    work.mkdir()
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": site, "JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ractd_jax", "pipeline"),
            "--preset=hopper_medium_expert:smoke",
            "--workdir=erster Lauf",
        ],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert (work / "erster Lauf" / "report.md").exists()
    where = [sys.executable, "-c", "import ractd_jax; print(ractd_jax.__file__)"]
    found = subprocess.run(where, cwd=work, env=environment, capture_output=True)
    assert found.stdout.decode().startswith(str(site))
