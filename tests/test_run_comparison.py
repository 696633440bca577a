"""Trainings side by side, of folders made by hand and of a finished pipeline."""

import json
import subprocess
import sys

import numpy as np
import pytest

from ractd_jax.errors import DataError
from ractd_jax.evaluation.results import EpisodeResults, save_results
from ractd_jax.files import write_json
from ractd_jax.mains.compare import preset_of
from ractd_jax.reports.run_comparison import compare_runs
from ractd_jax.reports.runs import read_runs
from ractd_jax.settings import Settings, from_mapping, to_dict
from ractd_jax.training.logging import MetricWriter
from tests.conftest import ROOT
from tests.mains import run_forked

LOSSES = ("loss/ctm", "loss/dsm")


def make_run(folder, stage="student", losses=LOSSES, num_rows=3, **sections):
    """The folder of a training, at step 10 for each row, 5 steps a second."""
    settings = from_mapping({"environment": {"score_min": 0.0, "score_max": 200.0}})
    settings = from_mapping(sections, settings)
    writer = MetricWriter(folder, 0)
    for i in range(num_rows):
        # The first interval compiles for 3 seconds.
        rate = {"time/steps_per_s": 5.0} if i else {"time/first_steps_per_s": 2.0}
        values = {name: 1.0 / (i + j + 1) for j, name in enumerate(losses)}
        writer.write(10 * (i + 1), values | rate)
    writer.close()
    write_json(folder / "config.json", to_dict(settings))
    write_json(folder / "training.json", {"stage": stage, "num_steps": 40})
    return folder


def tables(text: str) -> list[dict[str, dict[str, str]]]:
    """Each Markdown table as row name -> column -> cell."""
    found = []
    for block in text.split("\n\n"):
        if block.startswith("| "):
            header, _, *rows = (
                [cell.strip() for cell in line.strip().strip("|").split("|")]
                for line in block.strip().splitlines()
            )
            found.append({row[0]: dict(zip(header, row, strict=True)) for row in rows})
    return found


def test_two_runs_side_by_side(tmp_path):
    a = make_run(tmp_path / "a", student={"reward_weight": 0.0})
    b = make_run(tmp_path / "b", losses=(*LOSSES, "loss/reward"), num_rows=2, seed=3)
    text = compare_runs([a, b], tmp_path / "out/here")
    about, settings, values = tables(text)
    assert about["a"] == {
        "run": "a",
        "stage": "student",
        "task": Settings().task,
        "preset": "-",
        "steps": "30 of 40",
        # 10 steps at 2 a second, 20 at 5.
        "wall time": "0:09",
        "steps/s": "5",
    }
    assert about["b"]["steps"] == "20 of 40" and about["b"]["wall time"] == "0:07"
    weight = str(Settings().student.reward_weight)
    # More settings than runs, or as many: a column for each run.
    assert settings == {
        "seed": {"setting": "seed", "a": "0", "b": "3"},
        "student.reward_weight": {
            "setting": "student.reward_weight",
            "a": "0.0",
            "b": weight,
        },
    }
    assert values["loss/ctm"] == {"metric": "loss/ctm", "a": "0.3333", "b": "0.5"}
    assert values["loss/reward"] == {"metric": "loss/reward", "a": "-", "b": "0.25"}
    written = (tmp_path / "out/here/compare.md").read_text()
    assert written == text + "\n![losses over the steps](compare.png)\n"
    assert (tmp_path / "out/here/compare.png").read_bytes()[:4] == b"\x89PNG"


def test_one_panel_for_each_loss_that_runs_of_a_stage_share(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "ractd_jax.reports.run_comparison.draw_panels",
        lambda path, panels: drawn.update(panels),
    )
    for pipeline in ("p", "q"):
        make_run(tmp_path / pipeline / "teacher", "teacher", ("loss/dsm",))
        make_run(tmp_path / pipeline / "ctd")
    make_run(tmp_path / "q/ractd", losses=(*LOSSES, "loss/reward"))
    compare_runs([tmp_path / "p", tmp_path / "q"], tmp_path / "out")
    names = {key: [run.name for run in runs] for key, runs in drawn.items()}
    students = ["p/ctd", "q/ctd", "q/ractd"]
    assert names == {
        ("student", "loss/ctm"): students,
        ("student", "loss/dsm"): students,
        ("teacher", "loss/dsm"): ["p/teacher", "q/teacher"],
    }
    drawn.clear()
    compare_runs([tmp_path / "q"], tmp_path / "out")
    assert ("student", "loss/reward") in drawn


def test_scores_with_their_intervals(tmp_path):
    """Of a run's own evaluations as statistics, of its pipeline's as raw returns."""
    folder = make_run(tmp_path / "ractd")
    own = {"episodes": 7, "score_mean": 50.0, "score_median": 51.0}
    own["score_interval_95"] = [40.0, 60.0]
    name = "ractd_1steps_temperature0.1_7episodes_seed0_0123abcd"
    write_json(folder / f"evaluation/{name}.json", own)
    returns = np.array([100.0, 200.0, 180.0])
    results = EpisodeResults(
        returns, np.array([5, 5, 5]), np.arange(3), returns, seconds=1.0
    )
    save_results(folder / f"evaluation/{name}.npz", results)
    for model in ("ractd", "ractd_other"):
        path = f"evaluation/{model}_2steps_3episodes_seed0_0123abcd.npz"
        save_results(tmp_path / path, results)
    scores = tables(compare_runs([folder]))[-1]
    assert list(scores) == ["ractd"]  # the table's last row of that name
    text = compare_runs([folder])
    assert text.count("| ractd | ") == 3  # about, and two evaluations
    assert "| 1steps temperature0.1 7episodes seed0 | 7 | 50.0 | 40.0 .. 60.0 |" in text
    # Of 200, the environment's reference.
    assert "| 2steps 3episodes seed0 | 3 | 80.0 | 50.0 .. 100.0 | 90.0 |" in text


def test_a_running_training_is_read_while_a_row_is_written(tmp_path):
    folder = make_run(tmp_path / "run")
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 40, "loss/c')
    (run,) = read_runs([folder])
    assert run.step == 30 and run.last["loss/dsm"] == pytest.approx(0.25)
    assert run.curve("loss/ctm") == ([10, 20, 30], [1.0, 0.5, 1 / 3])
    # Before its first row.
    new = tmp_path / "new"
    write_json(new / "training.json", {"stage": "bc", "num_steps": 8})
    (about,) = tables(compare_runs([new], tmp_path / "out"))
    assert about["new"]["steps"] == "0 of 8" and about["new"]["wall time"] == "-"
    assert not (tmp_path / "out/compare.png").exists()


def test_an_older_training_has_the_defaults_of_newer_settings(tmp_path):
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    config = json.loads((a / "config.json").read_text())
    del config["cql"], config["student"]["pessimism"]
    write_json(a / "config.json", config)
    (a / "training.json").unlink()
    assert [run.stage for run in read_runs([a, a / "../a"])] == [""]  # once
    # Its checkpoint says which stage it is, whose settings say how many steps.
    about = {"stage": "student"}
    write_json(a / "checkpoints/30/metadata/metadata", about)
    write_json(a / "checkpoints/30.saving/metadata/metadata", {"stage": "?"})
    text = compare_runs([a, b])
    assert "No setting differs." in text
    assert f"| 30 of {Settings().student.num_steps} |" in text


def test_what_cannot_be_compared_is_one_error(tmp_path):
    a = make_run(tmp_path / "a")
    other = make_run(tmp_path / "r", "reward", ("loss/mse",))
    with pytest.raises(DataError, match="student with loss/ctm, loss/dsm; reward with"):
        compare_runs([a, other])
    (tmp_path / "empty").mkdir()
    for folder, words in (("empty", "no training in it"), ("none", "no such folder")):
        with pytest.raises(DataError, match=f"{folder}: expected the folder .*{words}"):
            compare_runs([a, tmp_path / folder])
    with pytest.raises(DataError, match="a file that can be written"):
        compare_runs([a], a / "config.json")
    for damage in ("no JSON\n", '{"loss/ctm": 1}\n', '{"step": "a"}\n', "[1]\n"):
        (other / "metrics.jsonl").write_text(f'{{"step": 1}}\n{damage}')
        with pytest.raises(DataError, match="metrics.jsonl, line 2: expected a JSON"):
            compare_runs([other])
    (a / "config.json").write_text("{")
    with pytest.raises(DataError, match="config.json: expected a JSON object"):
        compare_runs([a])


def test_presets_are_told_by_their_settings():
    from ractd_jax import presets

    for preset in ("cpu", "smoke", "paper"):
        config = presets.of_task("hopper-medium", preset).to_dict()
        config["seed"], config["dataset"]["root"] = 5, "elsewhere"
        settings = json.loads(json.dumps(config))
        assert preset_of(settings) == preset
        settings["student"]["num_steps"] = 123
        assert preset_of(settings) == f"{preset}, 1 changed"
    assert preset_of(json.loads(json.dumps(to_dict(Settings(task="mine"))))) == "-"


def test_runs_are_read_without_jax():
    program = (
        "import sys, ractd_jax.reports.run_comparison\n"
        "print(*[m for m in ('jax', 'flax', 'matplotlib') if m in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_the_command_on_a_finished_pipeline(smoke_run, tmp_path):
    done = run_forked("ractd_jax", "compare", str(smoke_run), f"--output={tmp_path}")
    assert done.returncode == 0, done.stderr
    about, settings, values, scores = tables(done.stdout)
    stages = {"ctd": "student", "ractd": "student", "teacher": "teacher"}
    stages |= {"reward": "reward"}
    assert stages.items() <= {name: row["stage"] for name, row in about.items()}.items()
    assert {row["steps"] for row in about.values()} == {"8 of 8"}
    assert {row["preset"].split(",")[0] for row in about.values()} == {"smoke"}
    assert about["teacher"]["preset"] == "smoke"
    assert settings["ctd"]["student.reward_weight"] == "0.0"
    last = (smoke_run / "ractd/metrics.jsonl").read_text().splitlines()[-1]
    shown = float(values["loss/ctm"]["ractd"])
    assert shown == pytest.approx(json.loads(last)["loss/ctm"], rel=1e-3)
    report = json.loads((smoke_run / "report.json").read_text())["planners"]["RACTD"]
    assert scores["ractd"]["score"] == f"{report['score_mean']:.1f}"
    assert (tmp_path / "compare.png").stat().st_size > 10_000
    # What its training warned of was printed once more.
    assert "Warnings:\n* " in (smoke_run / "stdout.txt").read_text()


def test_wrong_arguments_are_one_line(tmp_path):
    for given, words in {
        (): "compare: expected folders of trainings, found none",
        ("gs://bucket/run",): "expected a local path, found the URL",
        (str(tmp_path),): "no training in it",
    }.items():
        refused = run_forked("ractd_jax", "compare", *given)
        assert refused.returncode == 1 and words in refused.stderr
        assert refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1
