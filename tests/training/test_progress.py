"""What a training shows: plain lines in a file, one live line on a terminal."""

import io
import json
import sys

import pytest
from absl import logging
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.layout_pb2 import Layout

from ractd_jax.training import progress as progress_module
from ractd_jax.training.logging import MetricWriter
from ractd_jax.training.loop import train
from ractd_jax.training.progress import Progress, collected_warnings, describe
from ractd_jax.training.stages import reward_stage
from tests.training.conftest import small_settings

SCALARS = {
    "grad/norm": 2.0,
    "loss/ctm": 0.000171,
    "loss/reward": -0.279,
    "loss/total": 0.157,
    "time/steps_per_s": 62.8,
    "fidelity/spread": 0.9815,
    "fidelity/error": 0.14,
    "reward/student_median": 693.29,
    "reward/data_median": 706.07,
    "reward/data_q99": 997.3,
}
SHOWN = (
    "loss ctm 0.000171, reward -0.279; spread 0.98 of the teacher's; "
    "predicted return 693.3 (data 706.1)"
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the test sets."""
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: now[0])
    return now


def run_to_its_end(clock, warn_at=None):
    """1,000 steps, 10 a second, the first 100 of which take ten seconds more."""
    clock[0] = 100.0
    with Progress("ractd (student)", 0, 1_000) as shown:
        for step in range(100, 1_001, 100):
            clock[0] += 20.0 if step == 100 else 10.0
            shown.advance(100)
            shown.show(SCALARS)
            shown.report()
            if step == warn_at:
                logging.warning("the spread is lost")
    shown.finish("runs/ractd/checkpoints/1000")


def test_few_scalars_are_shown():
    assert describe(SCALARS) == SHOWN
    assert describe({"loss/mse": 0.5, "loss/held_out_mse": 0.25, "x": 1.0}) == (
        "loss mse 0.5, held-out mse 0.25"
    )
    assert describe({"loss/total": 1.0}) == "loss total 1"
    assert describe({}) == ""
    assert describe(SCALARS, short=True) == (
        "spread 0.98; return 693.3 (data 706.1); loss ctm 0.00017, reward -0.28"
    )


def test_a_file_gets_a_line_at_intervals_and_a_summary(clock, capsys):
    run_to_its_end(clock)
    text = capsys.readouterr().err
    lines = text.splitlines()
    assert "\r" not in text and all(
        line.startswith("ractd (student): ") for line in lines
    )
    # 10 seconds apart, so every second report is due.
    steps = [line.split(" of ")[0].split()[-1] for line in lines[:-1]]
    assert steps == ["100", "300", "500", "700", "900"]
    assert f"step 100 of 1000, 0:20 with compilation; {SHOWN}" in lines[0]
    assert f"step 300 of 1000, 10 steps/s, 1:10 left; {SHOWN}" in lines[1]
    assert lines[-1] == (
        f"ractd (student): 1000 steps in 1:50, 10 steps/s; {SHOWN}; "
        "checkpoint runs/ractd/checkpoints/1000"
    )


def test_a_terminal_gets_one_line_and_the_summary(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run_to_its_end(clock)
    live, _, summary = terminal.getvalue().rpartition("\r")
    assert live.count("\n") == 0 and "ractd (student) |" in live
    assert summary.startswith("ractd (student): 1000 steps in 1:50")
    assert summary.count("\n") == 1


def test_a_warning_has_a_line_of_its_own_on_a_terminal(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    handler = logging.get_absl_handler()
    logger = logging.get_absl_logger()
    monkeypatch.setattr(handler.python_handler, "stream", terminal)
    logger.addHandler(handler)
    try:
        run_to_its_end(clock, warn_at=500)
    finally:
        logger.removeHandler(handler)
    before, _, after = terminal.getvalue().partition("the spread is lost")
    # What was there is drawn over by blanks before the warning begins.
    drawn, _, line = before.rpartition("\r")
    assert drawn.rpartition("\r")[2].strip() == "" and line.startswith("W")
    assert after.startswith("\n")


def test_nothing_is_shown_by_other_processes(clock, capsys):
    with Progress("teacher", 0, 8, shows=False) as shown:
        shown.advance(8)
        shown.show(SCALARS)
        shown.report()
    shown.finish()
    assert capsys.readouterr() == ("", "")


def test_a_training_prints_its_summary_and_where_its_checkpoint_is(
    dataset, tmp_path, capsys
):
    settings, folder = small_settings(), tmp_path / "mine"
    train(reward_stage(settings, dataset), settings.run, settings.seed, folder)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("mine (reward): 8 steps in 0:")
    assert "held-out mse" in last
    assert (folder / "checkpoints/8").is_dir()
    assert last.endswith(f"; checkpoint {folder}/checkpoints/8")
    assert json.loads((folder / "training.json").read_text()) == {
        "stage": "reward",
        "num_steps": 8,
    }


def test_warnings_of_this_package_are_collected_once_each():
    with collected_warnings() as warned:
        stored_warning("teacher", 3)
        stored_warning("teacher", 3)
        stored_warning("student", 4)
        logging.warning("of a test, not of the package")
        logging.info("no warning")
    stored_warning("too late", 5)
    assert [text.partition(":")[0] for text in warned] == ["teacher", "student"]


def stored_warning(name: str, step: int) -> None:
    """One that the package logs: of data whose digest was not kept."""
    from ractd_jax.storage.workdir import check_same_dataset

    check_same_dataset(name, {}, {"dataset": {"name": f"data {step}"}})


def events(folder):
    """Those of the one event file in `folder`."""
    (path,) = folder.iterdir()
    data = path.read_bytes()
    while data:
        size = int.from_bytes(data[:8], "little")
        yield Event.FromString(data[12 : 12 + size])
        data = data[12 + size + 4 :]


def test_tensorboard_has_the_terms_under_their_names_in_the_paper(tmp_path):
    writer = MetricWriter(tmp_path, 0)
    rows = [
        {"loss/ctm": 0.1, "loss/dsm": 0.2, "grad/norm": 1.0},
        {"loss/ctm": 0.3, "loss/dsm": 0.4, "loss/reward": -0.5, "grad/norm": 2.0},
    ]
    for step, row in enumerate(rows, 1):
        writer.write(step, row)
    writer.close()
    found, layouts = {}, []
    for event in events(tmp_path / "tensorboard"):
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "custom_scalars":
                layouts.append(Layout.FromString(value.tensor.string_val[0]))
            else:
                found[event.step, value.tag] = value.simple_value
    assert found == pytest.approx(
        {(step, tag): v for step, row in enumerate(rows, 1) for tag, v in row.items()}
    )
    # A term that comes later comes with a layout of all.
    assert len(layouts) == 2
    (category,) = layouts[-1].category
    titles = {chart.title: list(chart.multiline.tag) for chart in category.chart}
    assert titles == {
        "L_CTM": ["^loss/ctm$"],
        "L_DSM": ["^loss/dsm$"],
        "L_Reward": ["^loss/reward$"],
    }
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": step, **row} for step, row in enumerate(rows, 1)
    ]


def test_a_training_that_was_finished_has_no_summary(clock, capsys):
    with Progress("ctd", 1_000, 1_000) as shown:
        pass
    shown.finish("runs/ctd/checkpoints/1000")
    assert capsys.readouterr().err == ""
