"""Every block of Python in README and docs runs, a page's in order, as one program.

A page's program starts in an empty folder with a finished smoke pipeline at runs/smoke,
which the README's command makes; what a page needs besides is made here.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import gymnasium
import jax
import numpy as np
import pytest

import ractd_jax
from ractd_jax.planning.export import export_planner
from tests.test_docs import CURRENT, ROOT, name_of

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# Run by a test of their own: tests/test_extending.py trains with what the page defines.
ELSEWHERE = {"docs/extending.md": "test_extending.py"}
# Hundreds of episodes.
SLOW = {"docs/tutorial.md"}
# Needs a maze, too.
USAGE = "docs/usage.md"
# Minari asks for an author, a link and an environment.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari")


def blocks(page: Path) -> list[str]:
    """The page's blocks, each on the lines where the page has it."""
    text = page.read_text()
    return [
        "\n" * text.count("\n", 0, match.start(1)) + match[1]
        for match in BLOCK.finditer(text)
    ]


WITH_PYTHON = {name_of(page): page for page in CURRENT if blocks(page)}


def run(name: str, variables: dict | None = None) -> dict:
    """Runs a page's blocks; their variables."""
    variables = {"__name__": "page"} | (variables or {})
    for block in blocks(WITH_PYTHON[name]):
        exec(compile(block, name, "exec"), variables)
    return variables


@pytest.fixture
def folder(smoke_run, tmp_path, monkeypatch) -> Path:
    """Where a page's program starts; what it changes in the process is taken back."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/smoke").symlink_to(smoke_run)
    monkeypatch.chdir(tmp_path)
    registered = dict(gymnasium.registry)
    asynchronous = jax.config.read("jax_cpu_enable_async_dispatch")
    yield tmp_path
    gymnasium.registry.clear()
    gymnasium.registry.update(registered)
    jax.config.update("jax_cpu_enable_async_dispatch", asynchronous)


def prepare_deploy(folder: Path, monkeypatch) -> None:
    """The policy that the page's command exports, and its name on the command line."""
    planner = ractd_jax.load_planner(folder / "runs/smoke/ractd")
    export_planner(planner, folder / "policy.zip")
    monkeypatch.setattr(sys, "argv", ["control_loop.py", "policy.zip"])


PREPARE = {"docs/deploy.md": prepare_deploy}


def check_readme(found: dict, printed: str) -> None:
    assert found["plans"].shape == (1, *found["planner"].dims.plan_shape)


def check_index(found: dict, printed: str) -> None:
    """A hopper that stands is paid 1 a step, one that runs more."""
    assert found["total"] > 150


def check_deploy(found: dict, printed: str) -> None:
    assert re.fullmatch(r"return [-\d.]+, \d+ actions later than 0.008 s\n", printed)


def check_tutorial(found: dict, printed: str) -> None:
    """What it prints is what the page shows."""
    for line in printed.splitlines():
        assert f"\n    {line}\n" in WITH_PYTHON["docs/tutorial.md"].read_text()


def check_reward(found: dict, printed: str) -> None:
    """Other rewards for the same actions, one action of the planner's range."""
    recorded, episodes = found["recorded"], found["episodes"]
    assert len(episodes) == recorded.total_episodes
    assert not np.allclose(episodes[0].rewards, recorded[0].rewards)
    assert found["action"].shape == (3,)


def check_foreign(found: dict, printed: str) -> None:
    """The agent that the page writes, from weights on the disk."""
    np.savez("agent.npz", kernel=np.ones((11, 3)), bias=np.zeros(3))
    actions = found["load"]("agent.npz")(np.ones((2, 11)))
    np.testing.assert_allclose(actions, np.full((2, 3), np.tanh(11.0)))


CHECKS = {
    "benchmarks/foreign.md": check_foreign,
    "README.md": check_readme,
    "docs/index.md": check_index,
    "docs/deploy.md": check_deploy,
    "docs/tutorial.md": check_tutorial,
    "docs/guides/own_reward.md": check_reward,
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW))
        for name in WITH_PYTHON
        if name not in {*ELSEWHERE, USAGE}
    ],
)
def test_the_pages_python_runs(name, folder, monkeypatch, capsys):
    if name in PREPARE:
        PREPARE[name](folder, monkeypatch)
        capsys.readouterr()
    found = run(name)
    if name in CHECKS:
        CHECKS[name](found, capsys.readouterr().out)


def test_the_python_of_usage_runs(folder, maze_run):
    """Its models are a demo's and a maze's; single lines of it rely on the imports."""
    (folder / "runs/demo").symlink_to(folder / "runs/smoke")
    (folder / "runs/maze").mkdir()
    (folder / "runs/maze/ractd").symlink_to(maze_run / "student")
    found = run(USAGE, {"ractd_jax": ractd_jax, "np": np, "jax": jax})
    assert found["states"].shape[0] == 1
    assert found["states"].shape[2] == 4
    assert found["actions"].shape == (1, 3)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_other_tests_run_the_pages_left_out(name):
    assert name in WITH_PYTHON
    assert name in (ROOT / "tests" / ELSEWHERE[name]).read_text()
