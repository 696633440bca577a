"""Curves of trainings, groups of runs, and how values are written."""

import re

import numpy as np
import pytest

from ractd_jax.errors import ConfigError
from ractd_jax.reports.aggregate_pictures import training_curve
from ractd_jax.reports.aggregate_report import format_latex
from ractd_jax.reports.aggregate_summary import summarize_groups
from ractd_jax.reports.member_groups import find_group, group_members
from ractd_jax.reports.results_table import as_text, read_results
from tests.sweep_files import member_rows, write_members, write_sweep


def test_training_curve_bands(tmp_path):
    """None of one run, the extremes of two, a bootstrap of three; common steps only."""
    sets = [{1: [0.0], 2: [2.0]}, {1: [4.0], 2: [6.0], 3: [9.0]}, {1: [8.0], 2: [7.0]}]
    write_members(
        tmp_path, [member_rows({}, seed, scores) for seed, scores in enumerate(sets)]
    )
    members = read_results([tmp_path])
    steps, means, low, high, band = training_curve(members[:2])
    assert steps.tolist() == [1, 2] and band == "lowest to highest"
    np.testing.assert_allclose([means, low, high], [[2, 4], [0, 2], [4, 6]], atol=1e-9)
    assert training_curve(members[:1])[2:] == (None, None, "no band")
    *_, low, high, band = training_curve(members)
    assert band.startswith("95%") and np.all(low >= 0) and np.all(low < high)


def test_best_checkpoint_is_each_runs_own(tmp_path):
    write_members(
        tmp_path,
        [
            member_rows({}, 0, {1: [9.0], 2: [1.0], 3: [9.0]}),
            member_rows({}, 1, {1: [0.0], 2: [5.0], 3: [2.0]}),
        ],
    )
    assert [m.best.step for m in read_results([tmp_path])] == [1, 2]


def test_groups_are_ordered_and_found_by_value(tmp_path):
    write_sweep(tmp_path, weights=(10, 0.5, 2.0), seeds=1, num_steps=2)
    groups = group_members(read_results([tmp_path]))
    assert list(groups) == [("0.5",), ("2",), ("10",)]
    for text in ("2", "2.0", "reward_weight=2", " 2e0"):
        assert find_group(list(groups), ["reward_weight"], text) == ("2",)
    for text in ("3", "2,2", "other=2", ""):
        with pytest.raises(ConfigError, match="--baseline: expected 'reward_weight=0."):
            find_group(list(groups), ["reward_weight"], text)


def test_values_as_text():
    values = (0, 0.0, 1e-5, True, None, "a_b", [1, 2], 1234567, -0.25)
    expected = "0|0|1e-05|true|none|a_b|[1, 2]|1234567|-0.25"
    assert "|".join(map(as_text, values)) == expected


def test_latex_is_escaped(tmp_path):
    """Every special character of a value comes out of the table as itself."""
    params = {"a_b%": "[50% & {x}_$y\\~^#<>"}
    write_members(tmp_path, [member_rows(params, 0, {1: [1.0]})])
    groups = group_members(read_results([tmp_path]))
    text = format_latex(summarize_groups(groups, list(params)), "c_d")
    assert r"a\_b\%" in text and r"\texttt{c\_d}" in text
    assert (
        r"{}[50\% \& \{x\}\_\$y\textbackslash{}\textasciitilde{}"
        r"\textasciicircum{}\#\textless{}\textgreater{} & 1 &" in text
    )
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    ends = [len(re.findall(r"(?<!\\)&", row)) for row in rows]
    assert ends[1:] == [9] * 2
