"""The public modules are typed, and a user's type checker sees it."""

import subprocess
import sys

import pytest

from tests.mains import ROOT

GOOD = """
import jax
import numpy as np
import ractd_jax
from ractd_jax.diffusion import karras_sigmas, sample_heun
from ractd_jax.student import jump

policy = ractd_jax.pretrained("hopper-medium-expert")
actions: jax.Array = policy.act(np.zeros((1, 11), np.float32), jax.random.key(0))
planner = ractd_jax.load_planner("runs/demo/ractd", num_steps=2)
nfe: int = planner.nfe
"""
BAD = {
    "ractd_jax.pretrained(3)": "arg-type",
    "ractd_jax.load_planner('runs/demo').replan()": "attr-defined",
    "karras_sigmas('many', None)": "arg-type",
}


def check(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mypy", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_public_modules_are_typed():
    done = check()
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_users_program_is_checked_against_the_package(tmp_path):
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text("\n".join([GOOD, *BAD]))
    options = ("--config-file=", "--follow-imports=silent", "--ignore-missing-imports")
    good = check(*options, str(tmp_path / "good.py"))
    assert good.returncode == 0, good.stdout
    bad = check(*options, str(tmp_path / "bad.py"))
    found = [line for line in bad.stdout.splitlines() if ": error:" in line]
    first = len(GOOD.splitlines()) + 2
    for number, kind in enumerate(BAD.values(), start=first):
        assert any(f":{number}: " in line and f"[{kind}]" in line for line in found), (
            number,
            bad.stdout,
        )
