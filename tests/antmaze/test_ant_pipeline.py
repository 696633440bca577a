"""The ants' preset from a recording to its report, and an evaluation's picture."""

import json

import pytest

from tests.mains import run_forked

pytest.importorskip("gymnasium_robotics")


@pytest.mark.slow
def test_the_pipeline_runs_to_its_report(tmp_path):
    """And a planner of it is evaluated by hand, with a picture of the paths."""
    done = run_forked(
        "experiments.pipeline",
        "--config=configs/antmaze_umaze_diverse.py:smoke",
        f"--workdir={tmp_path}",
        "--config.evaluation.num_episodes=2",
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert {"teacher", "CTD", "RACTD"} <= set(report["planners"])
    for row in report["planners"].values():
        assert row["score_mean"] == pytest.approx(100 * row["return_mean"])
    assert "ractd/AntMaze-UMaze-v0" in (tmp_path / "report.md").read_text()
    done = run_forked(
        "experiments.evaluate",
        f"--checkpoint={tmp_path / 'ctd'}",
        f"--inverse_dynamics={tmp_path / 'inverse_dynamics'}",
        f"--output={tmp_path / 'by_hand'}",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (picture,) = (tmp_path / "by_hand").glob("*_paths.png")
    assert found["paths_picture"] == str(picture)
    assert 0.0 <= found["reached_share"] <= 1.0
