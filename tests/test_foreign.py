"""Foreign agents: what is exported for them, and how they are evaluated."""

import json

import numpy as np
import pytest

from benchmarks.foreign import ForeignPolicy, load_agent, transitions
from ractd_jax.errors import ConfigError
from tests.conftest import ROOT
from tests.mains import run_forked
from tests.test_critic import flagged_episodes

CONFIG = "--config=configs/hopper_medium_expert.py:smoke"


def test_exported_transitions_by_hand():
    """Of a fall, a time limit and a recording that stopped, three steps each."""
    found = transitions(flagged_episodes())
    assert found["observations"][:, 0].tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert found["next_observations"][[0, 1, 3, 4, 5, 6], 0].tolist() == [
        *(1, 2),
        *(4, 5),
        *(7, 8),
    ]
    assert found["masks"].tolist() == [1, 1, 0, 1, 1, 1, 1]
    assert found["terminals"].tolist() == [0, 0, 1, 0, 1, 0, 1]
    assert {len(array) for array in found.values()} == {7}


def test_actions_of_another_shape_are_refused():
    policy = ForeignPolicy(lambda observations: observations, 3)
    with pytest.raises(ValueError, match=r"expected actions of shape \[2, 3\], found"):
        policy.act(np.zeros((2, 1, 11)), np.arange(2), 0)


@pytest.mark.parametrize("name", ["no_module:load", "json:none", "json"])
def test_an_agent_that_is_not_there_is_named(name):
    with pytest.raises(ConfigError, match=f"--agent: expected MODULE:FUNCTION.*{name}"):
        load_agent(name, None)


@pytest.mark.slow
def test_the_main_exports_and_evaluates(smoke_run, tmp_path, monkeypatch):
    """A linear agent of numpy, in the episodes of the planners."""
    (tmp_path / "linear_agent.py").write_text(
        "import numpy as np\n"
        "def load(checkpoint):\n"
        "    kernel = np.load(checkpoint)\n"
        "    return lambda observations: np.tanh(observations @ kernel)\n"
    )
    np.save(tmp_path / "agent.npy", 0.1 * np.ones((11, 3)))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    done = run_forked(
        "benchmarks.foreign",
        CONFIG,
        f"--config.dataset.root={smoke_run / 'datasets'}",
        f"--export={tmp_path / 'data.npz'}",
        "--agent=linear_agent:load",
        f"--checkpoint={tmp_path / 'agent.npy'}",
        f"--output={tmp_path / 'agent.json'}",
    )
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "agent.json").read_text())
    assert scores["episodes"] == 2 and np.isfinite(scores["score_mean"])
    with np.load(tmp_path / "data.npz") as data:
        assert len(data["masks"]) >= 1_900 and data["actions"].shape[1] == 3
