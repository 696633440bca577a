"""The maze table and its pictures, end to end at the smoke preset."""

import json

import pytest

from tests.conftest import run_main


@pytest.mark.slow
def test_the_table_and_the_pictures_come_out(tmp_path):
    """A second run finds everything done and gives the same scores."""
    command = (
        "maze_table",
        "--maze=umaze",
        "--preset=smoke",
        "--num_episodes=2",
        "--conditionings=film",
        f"--workdir={tmp_path}",
    )
    tables = []
    for _ in range(2):
        run_main(*command)
        tables.append(json.loads((tmp_path / "maze_table.json").read_text())["umaze"])
    first, second = tables
    assert len(first["samplers"]) == 7 and len(first["additions"]) == 12
    for section in ("samplers", "additions"):
        for label, row in first[section].items():
            assert row["episodes"] == 2
            assert row["score_mean"] == second[section][label]["score_mean"]
    text = (tmp_path / "maze_table.md").read_text()
    assert "| RACTD, 1 step |" in text and "Diffusion Veteran" in text
    run_main(
        "maze_pictures",
        f"--workdir={tmp_path}",
        "--maze=umaze",
        "--starts=2",
        f"--output={tmp_path / 'picture'}",
    )
    for kind in ("plans", "denoising"):
        assert (tmp_path / f"picture_{kind}.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--maze=umaze,hall",), "expected some of umaze, medium, large"),
        (("--num_episodes=0",), "num_episodes"),
    ],
)
def test_bad_flags_are_named(tmp_path, arguments, message):
    done = run_main("maze_table", f"--workdir={tmp_path}", *arguments, check=False)
    assert done.returncode != 0 and message in done.stderr


def test_the_pipeline_sends_mazes_to_their_table(tmp_path):
    flags = "--config=configs/maze2d_umaze.py", f"--workdir={tmp_path}"
    done = run_main("pipeline", *flags, check=False)
    assert done.returncode != 0 and "experiments.maze_table" in done.stderr
