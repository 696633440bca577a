"""The benchmark's table over training seeds, and its main end to end."""

import json

import numpy as np
import pytest
import scipy.stats

from ractd_jax.errors import ConfigError, DataError
from ractd_jax.pipelines.benchmark import asked_settings, is_finished, read_cells
from ractd_jax.pipelines.cells import finished_cells, write_table
from ractd_jax.pipelines.tables import SWEPT, TABLES
from ractd_jax.pipelines.trainings import TRAININGS, in_order
from ractd_jax.reports.aggregate_pictures import draw_values
from ractd_jax.reports.benchmark_table import Cell, format_summary, summarize_cells
from ractd_jax.reports.results_table import read_results
from ractd_jax.reports.statistics import seed_interval
from ractd_jax.settings import from_mapping
from tests.conftest import run_main

FIDELITY = dict.fromkeys(
    ("spread", "plan_spread", "error", "plan_error", "sliced_wasserstein", "mode_gap"),
    0.25,
)


def cell(task, seed, **scores):
    planners = {label: {"score_mean": score} for label, score in scores.items()}
    data = {"score_mean": 40.0, "score_p90": 80.0}
    fidelity = {**FIDELITY, "spread": 0.9 - 0.1 * seed}
    return Cell(task, seed, data, planners, fidelity, {})


@pytest.fixture
def summary():
    return summarize_cells(
        [
            cell("a", 1, CTD=30.0, RACTD=90.0),
            cell("a", 0, CTD=10.0, RACTD=80.0),
            cell("b", 0, CTD=50.0),
            cell("b", 1, CTD=70.0),
        ]
    )


def test_means_and_intervals_are_over_seeds(summary):
    found = summary["tasks"]["a"]["planners"]["CTD"]
    assert found["seeds"] == [0, 1] and found["scores"] == [10.0, 30.0]
    assert found["mean"] == 20.0 and found["worst"] == 0.5
    half = scipy.stats.t.ppf(0.975, 1) * 10.0
    np.testing.assert_allclose(found["interval_95"], [20.0 - half, 20.0 + half])
    assert seed_interval([3.0]) is None


def test_the_average_is_made_seed_by_seed_of_planners_that_every_task_has(summary):
    assert set(summary["average"]) == {"CTD"}
    assert summary["average"]["CTD"]["scores"] == [30.0, 50.0]


def test_the_table_names_the_worst_seed_and_leaves_gaps_open(summary):
    text = format_summary(summary, "About.")
    scores, _, _ = text.partition("## Fidelity")
    rows = {line.split(" | ")[0]: line for line in scores.splitlines()}
    assert "85.0 ± 63.5 (80.0)" in rows["| a"] and rows["| b"].endswith(" - |")
    assert "40.0 ± 127.1 (30.0)" in rows["| **average**"]
    assert "0.850 (0.800)" in text and text.startswith("About.")


def test_fidelity_keeps_the_extremes(summary):
    found = summary["fidelity"]["a"]["spread"]
    assert found == pytest.approx({"mean": 0.85, "lowest": 0.8, "highest": 0.9})


def test_damaged_cells_are_named(tmp_path):
    (tmp_path / "seed_0").mkdir()
    assert read_cells([tmp_path / "seed_0"]) == []
    (tmp_path / "seed_0/cell.json").write_text('{"task": 1}')
    with pytest.raises(DataError, match=r"seed_0/cell.json: expected a cell"):
        read_cells([tmp_path / "seed_0"])


def test_trainings_come_after_what_they_need():
    order = in_order(TRAININGS)
    assert sorted(order) == sorted(TRAININGS)
    for name in order:
        assert all(
            order.index(need) < order.index(name) for need in TRAININGS[name].needs
        )


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--tasks=hopper-hard", "--tasks: expected some of"),
        (
            "--tasks=kitchen-partial --table=states",
            "--table=states: expected a --preset with config.plan.kind = 'states', "
            "found 'actions' for task 'kitchen-partial'",
        ),
        ("--seeds=one", "--seeds: expected integers with commas, found 'one'"),
        (
            "--beside=nowhere",
            "--beside: expected finished cells, found none in nowhere",
        ),
    ],
)
def test_bad_flags_are_named(tmp_path, flag, message):
    done = run_main("benchmark", f"--workdir={tmp_path}", *flag.split(), check=False)
    assert done.returncode != 0 and f"error: {message}" in done.stderr


def test_another_tables_planners_are_shown_beside(tmp_path):
    """Those of the same tasks and seeds; the cell's own win."""

    def write(folder, seed, **scores):
        about = dict.fromkeys(("processor", "cores", "jax", "mujoco", "commit"), folder)
        made = cell("hopper-medium", seed, **scores)._replace(about=about)
        path = tmp_path / folder / "hopper-medium" / f"seed_{seed}"
        path.mkdir(parents=True)
        (path / "cell.json").write_text(json.dumps(made._asdict()))

    write("own", 0, CTD=10.0)
    write("other", 0, BC=20.0, CTD=90.0)
    write("other", 1, BC=80.0)
    text = write_table(
        tmp_path / "own", "baselines", finished_cells(tmp_path / "other")
    )
    assert text.startswith("1 cells, training seeds 0;") and "commit other, own" in text
    table = json.loads((tmp_path / "own/table.json").read_text())
    planners = table["tasks"]["hopper-medium"]["planners"]
    assert {n: p["scores"] for n, p in planners.items()} == {
        "BC": [20.0],
        "CTD": [10.0],
    }
    assert "BC" not in write_table(tmp_path / "own", "baselines")


@pytest.mark.slow
def test_benchmark_is_restartable_and_read_by_aggregate(tmp_path):
    flags = [
        f"--workdir={tmp_path}",
        "--preset=smoke",
        "--tasks=hopper-medium",
        "--seeds=0,1",
        "--num_episodes=2",
        "--jobs=2",
    ]
    done = run_main("benchmark", *flags)
    assert "| hopper-medium |" in done.stdout and "RACTD" in done.stdout
    folders = [tmp_path / "hopper-medium" / f"seed_{seed}" for seed in (0, 1)]
    written = [(folder / "cell.json").stat().st_mtime_ns for folder in folders]
    table = json.loads((tmp_path / "table.json").read_text())
    group = table["tasks"]["hopper-medium"]["planners"]["RACTD"]
    assert group["seeds"] == [0, 1]
    members = read_results(folders)
    scores = [m.last.score for m in members if m.params["planner"] == "RACTD"]
    np.testing.assert_allclose(scores, group["scores"])
    again = run_main("benchmark", *flags)
    assert again.stdout == done.stdout
    assert written == [(f / "cell.json").stat().st_mtime_ns for f in folders]


def test_a_swept_value_is_drawn(tmp_path):
    labels = {f"RACTD, weight {weight}": 10.0 * weight for weight in (0, 1, 30)}
    tasks = summarize_cells([cell("a", s, **labels) for s in (0, 1)])["tasks"]
    draw_values(tmp_path / "table.png", tasks, "weight")
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
    for name in SWEPT:
        for label in TABLES[name]:
            float(label.rpartition(f", {SWEPT[name]} ")[2])


def test_a_trainings_changes_are_settings():
    for training in TRAININGS.values():
        student = from_mapping(training.changes).student
        # Else the stage refuses them, in the middle of a table.
        assert student.reward_input == "one_step" or student.reward_temperature == 1.0


def test_a_cell_of_another_table_or_other_settings_is_refused(tmp_path):
    settings = from_mapping({"evaluation": {"temperature": 0.1}})
    asked = asked_settings(settings)
    assert not is_finished(tmp_path, "methods", asked)
    about = {"table": "methods", "settings": asked}
    made = cell("a", 0, CTD=1.0)._replace(about=about)
    (tmp_path / "cell.json").write_text(json.dumps(made._asdict()))
    moved = {"seed": 3, "dataset": {"root": "elsewhere"}, "run": {"log_every": 7}}
    assert is_finished(
        tmp_path, "methods", asked_settings(from_mapping(moved, settings))
    )
    # As a cell that is older than a setting.
    del about["settings"]["student"]["reward_temperature"]
    (tmp_path / "cell.json").write_text(json.dumps(made._asdict()))
    assert is_finished(tmp_path, "methods", asked_settings(settings))
    with pytest.raises(ConfigError, match="--results: expected a folder of its own"):
        is_finished(tmp_path, "samplers", asked)
    warmer = from_mapping({"evaluation": {"temperature": 0.3}})
    with pytest.raises(
        ConfigError, match=r"config.evaluation.temperature: .* made with 0.1, .* 0.3"
    ):
        is_finished(tmp_path, "methods", asked_settings(warmer))


def test_every_entry_of_the_tables_is_trained():
    """With what it needs first, and what its candidates are rated by."""
    for entries in TABLES.values():
        names = {entry.training for entry in entries.values()}
        names |= {entry.reward for entry in entries.values() if entry.reward}
        assert set(in_order(sorted(names))) >= names
