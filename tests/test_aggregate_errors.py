"""Sweeps and rows of results that cannot be compared, named one by one."""

import numpy as np
import pytest

from ractd_jax.errors import ConfigError, DataError, RactdError
from ractd_jax.reports.comparison import write_comparison
from ractd_jax.reports.member_groups import group_members
from ractd_jax.reports.results_table import read_results
from tests.aggregate_toys import WALKER
from tests.sweep_files import TASK, member_rows, write_members, write_sweep


def group_error(folder, members, by=()):
    write_members(folder, members)
    with pytest.raises(ConfigError) as caught:
        group_members(read_results([folder]), by)
    return str(caught.value)


def test_groups_that_cannot_be_compared(tmp_path):
    scores = {1: [1.0]}
    first = member_rows({"w": 0, "lr": 1}, 0, scores)
    other = member_rows({"w": 0, "lr": 2}, 0, scores)
    walker = member_rows({"w": 1, "lr": 1}, 0, scores, WALKER)
    bare = member_rows({"lr": 1}, 1, scores)
    text = group_error(tmp_path, [first, other], ["w"])
    assert "one run for each task and seed" in text and "add lr to --by" in text
    assert "no parameter 'v', expected some of w, lr" in group_error(
        tmp_path, [first], ["v"]
    )
    assert "no parameter 'w'" in group_error(tmp_path, [first, bare])
    text = group_error(tmp_path, [first, walker], ["w"])
    assert "w=1: expected the tasks" in text or "w=0: expected the tasks" in text


def test_pooled_parameters_are_named(tmp_path):
    """Runs with seeds of their own may differ in what --by leaves out."""
    write_members(
        tmp_path / "sweep",
        [member_rows({"w": 0, "lr": seed}, seed, {1: [1.0 * seed]}) for seed in (1, 2)],
    )
    text = write_comparison([tmp_path / "sweep"], tmp_path / "out", ["w"])
    assert "differ in lr" in text


def test_folders_that_hold_the_same_runs(tmp_path):
    write_sweep(tmp_path, seeds=1, num_steps=2)
    with pytest.raises(ConfigError, match="one run for each task and seed.*drop one"):
        group_members(read_results([tmp_path, tmp_path]))


def test_folders_that_disagree_about_a_task(tmp_path):
    for name, task in (("a", TASK), ("b", {**TASK, "score_max": 99.0})):
        write_sweep(tmp_path / name, seeds=1, task=task, num_steps=2)
    with pytest.raises(DataError, match="one environment and reference of a task"):
        read_results([tmp_path / "a", tmp_path / "b"])


BAD_FIELDS = [
    ({"seed": "2"}, "line 2: field 'seed'.*integer.*found '2'"),
    ({"seed": True}, "line 2: field 'seed'"),
    ({"step": -1}, "line 2: field 'step'"),
    ({"task": ""}, "line 2: field 'task'"),
    ({"params": None}, "line 2: field 'params'.*an object.*None"),
    ({"last": 1}, "line 2: field 'last'.*true or false"),
    ({"last": False}, "line 2: field 'last'.*no last row"),
    ({"finite": None}, "line 2: field 'finite'"),
    ({"finite": False}, "line 2: field 'finite'.*no episodes"),
    ({"num_episodes": 3}, "line 2: field 'num_episodes'.*2, the returns.*found 3"),
    ({"score_min": float("nan")}, "line 2: field 'score_min'.*finite"),
    ({"score_max": -21.0}, "line 2: field 'score_max'.*more than score_min"),
    ({"environment": "Ant-v5"}, "line 2: field 'environment'.*Hopper-v5.*Ant-v5"),
    ({"seed": 5}, "line 2: field 'seed'.*expected 0, found 5"),
    ({"step": 1}, "field 'step'.*one row for each step.*1 again"),
]


def two_rows():
    return member_rows({"w": 1}, 0, {1: [1.0, 2.0], 2: [3.0, 4.0]})


@pytest.mark.parametrize(("change", "message"), BAD_FIELDS)
def test_rows_that_are_wrong(tmp_path, change, message):
    rows, returns = two_rows()
    rows[1] |= change
    write_members(tmp_path, [(rows, returns)])
    with pytest.raises(DataError, match=message) as caught:
        read_results([tmp_path])
    assert "results.jsonl" in str(caught.value)


def test_a_missing_field_is_named(tmp_path):
    rows, returns = two_rows()
    del rows[0]["score_max"]
    write_members(tmp_path, [(rows, returns)])
    with pytest.raises(DataError, match="line 1: field 'score_max'.*no such field"):
        read_results([tmp_path])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "no such array"),
        (np.zeros(0), "E at least 1"),
        (np.zeros((2, 1)), r"E at least 1, found float64 \[2, 1\]"),
        (np.zeros(2, int), "float64"),
        (np.array(["a", "b"]), "float64"),
        (np.array([1.0, np.inf]), "finite returns"),
        (np.array([1.0, None]), "raw episode returns.*pickle"),
    ],
)
def test_returns_that_are_wrong(tmp_path, values, message):
    rows, returns = two_rows()
    returns["w=1,seed=0@2"] = values
    if values is None:
        del returns["w=1,seed=0@2"]
    write_members(tmp_path, [(rows, returns)])
    with pytest.raises(DataError, match=message) as caught:
        read_results([tmp_path])
    assert "returns.npz" in str(caught.value)


def test_finite_after_non_finite(tmp_path):
    rows, returns = member_rows({}, 0, {1: [1.0], 2: [2.0]}, last_finite=0)
    (_, last), again = member_rows({}, 0, {1: [1.0], 2: [2.0]})
    returns["seed=0@2"] = again["seed=0@2"]
    write_members(tmp_path, [([rows[0], last], returns)])
    with pytest.raises(DataError, match="false from the first such row on"):
        read_results([tmp_path])


def test_returns_without_a_row(tmp_path):
    rows, returns = two_rows()
    write_members(tmp_path, [(rows, {**returns, "w=2,seed=0@2": np.zeros(1)})])
    with pytest.raises(DataError, match="w=2,seed=0@2.*a row in results.jsonl"):
        read_results([tmp_path])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.jsonl", None, "the rows of a sweep"),
        ("results.jsonl", b"", "no rows"),
        ("results.jsonl", b"\n{", "line 2: expected a JSON object"),
        ("results.jsonl", b"[1]", "line 1: expected a JSON object, found list"),
        ("results.jsonl", b"\xff", "the rows of a sweep"),
        ("returns.npz", None, "raw episode returns"),
        ("returns.npz", b"PK\x03\x04", "raw episode returns"),
    ],
)
def test_files_that_are_damaged(tmp_path, name, content, message):
    write_members(tmp_path, [two_rows()])
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RactdError, match=message):
        read_results([tmp_path])
