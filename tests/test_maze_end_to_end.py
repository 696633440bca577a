"""Plans of states through the real mains, and what can be loaded afterwards."""

import json

import jax
import numpy as np
import pytest

import ractd_jax
from ractd_jax.evaluation.state_rollout import evaluate_controlled
from ractd_jax.planning import load_inverse_dynamics
from ractd_jax.settings import Controller
from ractd_jax.tasks.maze_map import maze_map
from tests.conftest import MAZE_STAGES

pytest.importorskip("gymnasium_robotics")


def test_every_stage_of_the_maze_leaves_its_logs(maze_run):
    losses = {"teacher": "dsm", "ddpm": "ddpm", "student": "ctm"}
    for stage in MAZE_STAGES:
        rows = [json.loads(row) for row in (maze_run / stage / "metrics.jsonl").open()]
        assert [row["step"] for row in rows] == [4, 8]
        assert np.isfinite(rows[-1][f"loss/{losses.get(stage, 'mse')}"])
    # The sum over 128 states, of a pessimism that knows nothing yet.
    assert abs(rows[-1]["reward/data_median"]) > 2.0


@pytest.mark.parametrize(
    ("stage", "steps", "candidates"),
    [("teacher", 2, 1), ("ddpm", None, 1), ("ddpm", 2, 1), ("student", None, 2)],
)
def test_every_planner_of_the_maze_plans_and_is_followed(
    maze_run, stage, steps, candidates
):
    """From the environment's own observation, the state and the goal."""
    planner = ractd_jax.load_planner(
        maze_run / stage, num_steps=steps, num_candidates=candidates
    )
    assert planner.nfe == {"teacher": 4, "ddpm": steps or 4, "student": 1}[stage]
    settings, maze = planner.settings, maze_map("umaze")
    assert settings.environment.id == "ractd/Maze2d-UMaze-v0"
    assert settings.environment.score_max == pytest.approx(161.86)
    observations = np.float32([[1, 1, 0, 0, -1, 1], [-1, -1, 0, 0, -1, 1]])
    plans = np.asarray(planner.plan(observations, jax.random.key(0)))
    low, high = (np.asarray(bound) for bound in planner.observation_normalizer)
    assert plans.shape == (2, 128, 4)
    assert (plans >= low - 1e-4).all() and (plans <= high + 1e-4).all()
    controller, model = settings.controller, None
    if stage == "student":
        controller = Controller("inverse_dynamics")
        model = load_inverse_dynamics(maze_run / "inverse_dynamics")
        assert model.stride == settings.inverse_dynamics.stride
    results = evaluate_controlled(
        planner, controller, settings.environment, 2, 0, model=model
    )
    assert results.episodes.lengths.tolist() == [300, 300]
    assert results.paths.shape == (2, 300, 4) and len(results.collided) == 2
    assert not maze.is_wall(results.paths[..., :2]).any()
