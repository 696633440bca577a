"""The real mains, as a user runs them."""

import json

import numpy as np
import pytest

from tests.conftest import CONFIG, SMOKE_FLAGS, run_main

ENTRIES = {
    "teacher, all windows": "teacher_uniform_3steps_temperature1_2episodes_seed10000",
    "CTD, all windows": "ctd_uniform_1steps_temperature1_2episodes_seed10000",
    "teacher": "teacher_3steps_temperature1_2episodes_seed10000",
    "CTD": "ctd_1steps_temperature1_2episodes_seed10000",
    "CTD, temperature 0.1": "ctd_1steps_temperature0.1_2episodes_seed10000",
    "RACTD": "ractd_1steps_temperature0.1_2episodes_seed10000",
}


def test_pipeline_writes_its_report(smoke_run):
    report = json.loads((smoke_run / "report.json").read_text())
    assert set(report["planners"]) == set(ENTRIES)
    for label, row in report["planners"].items():
        (file,) = (smoke_run / "evaluation").glob(f"{ENTRIES[label]}_????????.npz")
        with np.load(file) as raw:
            score = 100 * (raw["returns"].mean() + 20.272305) / (3234.3 + 20.272305)
        assert row["score_mean"] == pytest.approx(score)
    text = (smoke_run / "report.md").read_text()
    words, _, images = text.partition("\n\n![")
    assert words in (smoke_run / "stdout.txt").read_text() and "| RACTD | 1 |" in text
    assert "returns.png" in images and "curves.png" in images
    for name in ("returns.png", "curves.png"):
        assert (smoke_run / name).stat().st_size > 5_000
    page = (smoke_run / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "<td>RACTD</td><td>1</td>" in page and "<td>data</td>" in page
    timing = report["latency"]
    for suffix in ("", "_all_cores", "_batch_100"):
        student, teacher = (
            timing[name + suffix]["p50"] for name in ("RACTD", "full_teacher")
        )
        assert teacher > student > 0.0


def test_pipeline_explains_its_report_and_how_faithful_one_step_is(smoke_run):
    report = json.loads((smoke_run / "report.json").read_text())
    found = report["fidelity"]
    assert set(found) == {"CTD", "CTD, all windows"}
    # Eight steps distil nothing; the numbers are finite, and of two models.
    for row in found.values():
        assert row["spread"] > 0.0 and 0.0 < row["error"] < 10.0
    share = f"{100 * found['CTD, all windows']['spread']:.0f}% of the teacher's spread"
    score = f"scores {report['planners']['RACTD']['score_mean']:.1f} with"
    text = (smoke_run / "report.md").read_text()
    assert f"| CTD | {found['CTD']['spread']:.3f} |" in text
    assert share in text and score in text and "at temperature 0.1" in text


def test_every_stage_leaves_its_logs(smoke_run):
    for stage in ("teacher", "reward", "ctd", "ractd"):
        folder = smoke_run / stage
        rows = [json.loads(r) for r in (folder / "metrics.jsonl").open()]
        assert [row["step"] for row in rows] == [4, 8]
        assert list((folder / "tensorboard").iterdir())
        assert json.loads((folder / "config.json").read_text())["task"]
        assert "jax" in json.loads((folder / "environment.json").read_text())
    assert "reward/student_median" in rows[-1] and "loss/ctm" in rows[-1]


def test_evaluate_main_saves_raw_returns_first(smoke_run):
    done = run_main(
        "evaluate",
        f"--checkpoint={smoke_run / 'ractd'}",
        "--num_steps=2",
        "--num_episodes=2",
    )
    name = "ractd_2steps_temperature0.1_2episodes_seed10000_*"
    (file,) = (smoke_run / "ractd/evaluation").glob(f"{name}.npz")
    with np.load(file) as raw:
        assert raw["returns"].shape == (2,)
    summary = json.loads(file.with_suffix(".json").read_text())
    assert json.loads(done.stdout) == summary and summary["nfe"] == 2


@pytest.mark.parametrize(
    ("main", "flags", "message"),
    [
        (
            "train_teacher",
            [f"--config={CONFIG}", "--workdir={tmp}", "--config.teacher.stepz=3"],
            "error: --config: expected fields of docs/settings.md, found 'stepz'",
        ),
        (
            "train_teacher",
            ["--config=configs/no_such_task.py", "--workdir={tmp}"],
            "error: --config: expected a config file, found [Errno 2] No such file",
        ),
        (
            "train_teacher",
            [f"--config={CONFIG}", "--workdir={tmp}", "--config.dataset.root={tmp}"],
            "error: Minari dataset 'ractd/hopper/medium-expert-v0': expected a dataset",
        ),
        (
            "train_teacher",
            [
                f"--config={CONFIG}",
                "--workdir={tmp}",
                "--config.dataset.source=d4rl",
                "--config.dataset.path={tmp}/no.hdf5",
            ],
            "no.hdf5: expected a D4RL HDF5 file, found no such file",
        ),
        (
            "train_student",
            [
                *SMOKE_FLAGS,
                "--workdir={tmp}",
                "--config.dataset.root={run}/datasets",
                "--config.task=hopper-medium",
                "--teacher={run}/teacher",
                "--reward={run}/reward",
            ],
            "task 'hopper-medium', found one of task 'hopper-medium-expert'",
        ),
        ("evaluate", ["--checkpoint={tmp}"], "error: {tmp}: expected a folder of a"),
        (
            "generate_dataset",
            ["--task=hopper-hard", "--root={tmp}"],
            "error: task: expected one of",
        ),
        (
            "train_teacher",
            ["--config=configs/hopper_medium.py:huge", "--workdir={tmp}"],
            "preset must be one of",
        ),
        (
            "train_teacher",
            [
                f"--config={CONFIG}",
                "--workdir={tmp}",
                "--config.dataset.root={run}/datasets",
                "--config.plan.horizon=200",
            ],
            "error: config.plan.horizon: a horizon of 200 makes plans of 600 numbers",
        ),
        (
            "train",
            [f"--config={CONFIG}", "--workdir={tmp}", "--stage=bc", "--reward={tmp}"],
            "error: --reward: expected none for stage 'bc'",
        ),
        (
            "train",
            [f"--config={CONFIG}", "--workdir={tmp}", "--stage=student"],
            "error: --teacher: expected the workdir of a teacher",
        ),
    ],
    ids=[
        "key",
        "config",
        "dataset",
        "file",
        "task",
        "checkpoint",
        "kind",
        "preset",
        "horizon",
        "stage's flag",
        "missing flag",
    ],
)
def test_bad_input_is_named(smoke_run, tmp_path, main, flags, message):
    places = {"tmp": tmp_path, "run": smoke_run}
    flags = [flag.replace("{tmp}", str(tmp_path)).replace("{run}", str(smoke_run))
             for flag in flags]  # fmt: skip
    done = run_main(main, *flags, check=False)
    assert done.returncode != 0
    assert message.format(**places) in done.stderr
