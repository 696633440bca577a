"""experiments.combinations from a recording to its table, and again."""

import json

import pytest

from tests.mains import run_forked

pytest.importorskip("gymnasium_robotics")


def run(folder, *flags):
    return run_forked(
        "experiments.combinations",
        "--task=maze",
        "--maze=medium",
        "--preset=smoke",
        "--seeds=0",
        f"--workdir={folder}",
        *flags,
    )


@pytest.mark.slow
def test_a_cell_is_made_once_and_shown_in_the_table(tmp_path):
    done = run(tmp_path, "--num_queries=3")
    assert done.returncode == 0, done.stderr
    file = tmp_path / "results/maze/medium/seed_0/cell.json"
    cell = json.loads(file.read_text())
    assert len(cell["rows"]) == 9 and cell["queries"] == 3
    for label, row in cell["rows"].items():
        guided = label.endswith(("weight 1.3", "weight 2.3")) and "teacher" in label
        teacher = 12 if guided else 6
        assert row["nfe"] == (1 if "one step" in label else teacher)
        for kind in ("seen", "held_out", "detours"):
            shares = row[kind]
            assert 0.0 <= shares["valid"] <= min(shares["free"], shares["passed"])
    assert "| attention, one step, weight 1.3 |" in done.stdout
    assert (tmp_path / "results/maze/table.md").read_text() == done.stdout
    before = file.stat().st_mtime_ns
    again = run(tmp_path, "--num_queries=3")
    assert again.stdout == done.stdout and file.stat().st_mtime_ns == before
    other = run(tmp_path, "--num_queries=4")
    assert other.returncode == 1 and "error: --num_queries: " in other.stderr


@pytest.mark.slow
def test_wrong_flags_end_in_one_line(tmp_path):
    for flag, found in (
        ("--maze=none", "--maze=['none']: expected some of medium, large"),
        ("--preset=paper", "preset must be one of"),
    ):
        done = run(tmp_path, flag)
        assert done.returncode == 1 and found in done.stderr
        assert "Traceback" not in done.stderr
