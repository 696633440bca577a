"""The policies in the package: small, described, without local paths, and good."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import ractd_jax
from ractd_jax.errors import ConfigError, PolicyError
from ractd_jax.evaluation.rollout import evaluate_planner
from ractd_jax.pipelines.shipping import ship_policies
from ractd_jax.planning.export import export_planner, largest_difference
from ractd_jax.policy import find_policy, load_policy, shipped_policies
from ractd_jax.reports.statistics import normalized_score
from ractd_jax.settings import Environment
from tests.mains import ROOT

NAMES = shipped_policies()


def test_there_are_some_and_they_are_listed():
    assert {"hopper-medium-expert", "walker2d-medium"} <= set(NAMES)
    listed = (ROOT / "ractd_jax/policies/README.md").read_text()
    assert all(f"| {name} |" in listed for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_is_small_and_says_what_it_is(name):
    policy = ractd_jax.pretrained(name)
    card = policy.metadata["card"]
    with open(find_policy(name), "rb") as file:
        assert len(file.read()) < 300_000
    assert policy.metadata["task"] == name and policy.nfe == 1
    assert card["planner"] == "RACTD" and card["score"] > card["score_of_data"]
    low, high = card["score_interval_95_of_seeds"]
    assert low < card["score_of_seeds"] < high
    assert len(card["training_seeds"]) == 4
    text = json.dumps(policy.metadata)
    assert not re.search(r'"(/|~|[A-Z]:)', text), "a local path"


def test_half_precision_is_near_and_compressed(planner, file, tmp_path):
    sizes = {"float32": file.stat().st_size}
    for storage, largest in (("float16", 2e-2), ("bfloat16", 2e-1)):
        path = tmp_path / f"{storage}.zip"
        metadata = export_planner(planner, path, storage=storage)
        sizes[storage] = path.stat().st_size
        assert metadata["storage"] == storage
        found = load_policy(path)
        assert all(np.asarray(w).dtype != np.float16 for w in found.weights)
        assert 0.0 < largest_difference(planner, found) < largest
    assert sizes["bfloat16"] < sizes["float16"] < 0.7 * sizes["float32"]


def test_other_names_are_told_what_there_is():
    with pytest.raises(PolicyError, match="a shipped policy .*hopper-medium-expert"):
        ractd_jax.pretrained("hopper-expert")


def test_tasks_without_cells_are_not_shipped(tmp_path):
    with pytest.raises(ConfigError, match="--tasks: expected tasks whose cell of"):
        ship_policies(tmp_path, tmp_path, tmp_path, ["hopper-medium"])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_policy_holds_its_score(name):
    """Over 20 episodes, whose starts are not those of the card."""
    policy = ractd_jax.pretrained(name)
    environment = Environment(**policy.metadata["settings"]["environment"])
    found = evaluate_planner(policy, environment, 20, 0)
    score = normalized_score(found.returns, environment).mean()
    assert score > 0.85 * policy.metadata["card"]["score"]


@pytest.mark.slow
def test_play_prints_the_card_and_a_score(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "ractd_jax", "play", "--policy=hopper-medium-expert"]
        + ["--num_episodes=2", "--video=0", f"--output={tmp_path}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["episodes"] == 2 and summary["score_mean"] > 50
    assert summary["card"]["training_seed"] == 0
