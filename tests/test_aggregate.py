"""Statistics over training seeds: against closed forms and scipy, and end to end."""

import json

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from ractd_jax.reports import aggregate
from ractd_jax.reports.aggregate import (
    as_tasks,
    estimate,
    iqm,
    mean,
    median,
    performance_profile,
    probability_of_improvement,
)
from ractd_jax.reports.comparison import write_comparison
from tests.aggregate_toys import WALKER
from tests.conftest import run_main
from tests.sweep_files import TASK, member_rows, write_members, write_sweep

ENDINGS = (".md", ".tex", ".json",
           "_profiles.png", "_intervals.png", "_training.png")  # fmt: skip

numbers = st.integers(-1000, 1000).map(float)
runs = st.lists(numbers, min_size=1, max_size=7).map(np.array)
tasks = st.lists(runs, min_size=1, max_size=4)


def value(scores, statistic):
    return estimate(scores, statistic, resamples=2).value


def test_hand_values():
    scores = np.array([[0.0, 10.0, 5.0], [4.0, 30.0, 5.0]])
    assert value(scores, mean) == 9.0
    assert value(scores, median) == 5.0
    # 0 4 5 5 10 30: a run and a half go from each end.
    assert value(scores, iqm) == pytest.approx((4 / 2 + 5 + 5 + 10 / 2) / 3)
    assert value([np.array([1.0, 2.0, 9.0])], iqm) == pytest.approx(
        (0.25 * 1 + 2 + 0.25 * 9) / 1.5
    )


@given(st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1, max_size=4))
def test_iqm_is_the_trimmed_mean_of_whole_runs(columns):
    scores = np.array(columns).T
    expected = scipy.stats.trim_mean(scores, 0.25, axis=None)
    assert value(scores, iqm) == pytest.approx(expected, abs=1e-9)


@given(tasks)
def test_iqm_counts_each_task_the_same(scores):
    """As if every task had 4 * 420 runs: each run repeated to that number."""
    repeated = [np.repeat(task, 4 * 420 // len(task)) for task in scores]
    expected = scipy.stats.trim_mean(np.concatenate(repeated), 0.25)
    assert value(scores, iqm) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=30)
@given(tasks, st.integers(-5, 5))
def test_intervals_move_with_the_scores(scores, shift):
    for statistic in (mean, median, iqm):
        found = estimate(scores, statistic, 50)
        moved = estimate([task + shift for task in scores], statistic, 50)
        assert moved.value == pytest.approx(found.value + shift, abs=1e-9)
        if min(map(len, scores)) < 2:
            assert found.low is None and found.high is None
            continue
        assert moved.low == pytest.approx(found.low + shift, abs=1e-9)
        lowest, highest = np.concatenate(scores).min(), np.concatenate(scores).max()
        ends = lowest - 1e-9, found.low, found.high + 1e-9, highest + 2e-9
        assert list(ends) == sorted(ends)


def test_bootstrap_is_scipys():
    """One task, percentile method: equal up to the noise of 20,000 resamples."""
    scores = np.random.default_rng(3).normal(50.0, 10.0, 9)
    for statistic, function in ((mean, np.mean), (iqm, None)):
        if function is None:
            function = lambda x, axis: np.apply_along_axis(  # noqa: E731
                lambda row: value([row], iqm), axis, x
            )
        size = 20_000 if statistic is mean else 2_000
        expected = scipy.stats.bootstrap(
            (scores,), function, n_resamples=size, method="percentile", batch=size,
            rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
        found = estimate([scores], statistic, 20_000)
        tolerance = 0.3 if statistic is mean else 0.9
        assert found.low == pytest.approx(expected.low, abs=tolerance)
        assert found.high == pytest.approx(expected.high, abs=tolerance)


def test_bootstrap_of_two_runs_is_known():
    """Means of resamples are a, (a + b) / 2, b with 1/4, 1/2, 1/4."""
    assert estimate([np.array([2.0, 6.0])], mean) == (4.0, 2.0, 6.0)
    weights = aggregate._resampled_weights([2], 40_000, np.random.default_rng(0))[0]
    shares = [(weights[:, 0] == share).mean() for share in (0.0, 0.5, 1.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.01)
    assert np.all(weights.sum(axis=1) == 1.0)


def test_bootstrap_is_stratified():
    """Runs of different tasks are never exchanged: equal ones leave no width."""
    scores = np.array([[0.0, 100.0]] * 5)
    for statistic in (mean, median, iqm):
        assert estimate(scores, statistic) == pytest.approx((50, 50, 50))


@pytest.mark.parametrize(("count", "share"), [(3, 0.75), (5, 0.83), (20, 0.93)])
def test_intervals_cover_what_the_documentation_says(count, share):
    rng, covered = np.random.default_rng(1), []
    for trial in range(500):
        found = estimate([rng.normal(size=count)], mean, 500, trial)
        covered.append(found.low <= 0.0 <= found.high)
    # Three standard errors of 500 trials.
    assert np.mean(covered) == pytest.approx(share, abs=0.06)


def test_bootstrap_depends_on_its_seed_only():
    scores = np.random.default_rng(0).normal(size=(5, 2))
    assert estimate(scores, iqm) == estimate(scores, iqm)
    assert estimate(scores, iqm, 100) != estimate(scores, iqm, 100, seed=1)


@given(runs, runs)
def test_improvement_is_mann_whitney(ours, theirs):
    found = probability_of_improvement([ours], [theirs], 10).value
    statistic = scipy.stats.mannwhitneyu(ours, theirs, method="asymptotic").statistic
    assert found == pytest.approx(statistic / (len(ours) * len(theirs)))
    other = probability_of_improvement([theirs], [ours], 10).value
    assert found + other == pytest.approx(1.0)


def test_improvement_hand_values():
    """Averaged over tasks; certain where all runs are better; bounds of two runs."""
    ours = [np.array([3.0, 1.0]), np.array([5.0, 6.0, 7.0])]
    theirs = [np.array([1.0, 2.0]), np.array([1.0, 2.0])]
    found = probability_of_improvement(ours, theirs)
    assert found.value == pytest.approx((2.5 / 4 + 1.0) / 2)
    assert probability_of_improvement(ours[1:], theirs[1:]) == pytest.approx((1, 1, 1))
    low, high = probability_of_improvement(ours[:1], theirs[:1])[1:]
    assert (low, high) == (0.0, 1.0)
    assert probability_of_improvement([np.ones(1)], [np.ones(3)]) == (0.5, None, None)
    with pytest.raises(ValueError):
        probability_of_improvement(ours, theirs[:1])


@given(tasks)
def test_profiles_fall_from_one_to_zero(scores):
    thresholds = np.linspace(-1001, 1000, 9)
    found = performance_profile(scores, thresholds, 20)
    assert found.value[0] == pytest.approx(1.0) and found.value[-1] == 0.0
    assert np.all(np.diff(found.value) <= 1e-12)
    if found.low is not None:
        assert np.all(found.low <= found.high)


def test_profile_hand_values():
    """Each task weighs the same; above means above."""
    scores = [np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0])]
    found = performance_profile(scores, np.array([0.0, 1.0, 2.0, 4.0]))
    np.testing.assert_allclose(found.value, [1.0, 0.875, 0.25, 0.0])
    # Of four runs, two above 2: a binomial of 4 draws over 4, halved by the tasks.
    ends = scipy.stats.binom.ppf([0.025, 0.975], 4, 0.5) / 8
    np.testing.assert_allclose([found.low[2], found.high[2]], ends)


@pytest.mark.parametrize(
    "scores", [[], [np.zeros(0)], np.zeros(3), [np.array([np.nan])]]
)
def test_scores_that_are_none(scores):
    with pytest.raises(ValueError, match="scores"):
        as_tasks(scores)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A finished comparison of two tasks, one member of which diverged."""
    folder = tmp_path_factory.mktemp("compared")
    write_sweep(folder / "a")
    write_sweep(folder / "b", task=WALKER, seeds=3)
    text = write_comparison(
        [folder / "a", folder / "b"],
        folder / "out/table_0.1",
        ["reward_weight"],
        "0",
        "python -m x_y",
    )
    return folder, text, json.loads((folder / "out/table_0.1.json").read_text())


def test_comparison_writes_everything(compared):
    folder, text, _ = compared
    files = {path.name: path.stat().st_size for path in (folder / "out").iterdir()}
    assert set(files) == {f"table_0.1{ending}" for ending in ENDINGS}
    assert all(0 < size < 250_000 for size in files.values())
    assert (folder / "out/table_0.1.md").read_text() == text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1 and text.count("\n|") == 4
    assert "`python -m x_y`" in text and "optimistic" in text


def test_comparison_is_of_the_raw_returns(compared):
    """Its numbers follow from returns.npz alone; walker's runs are fewer."""
    folder, _, found = compared
    row = found["groups"][1]
    assert row["label"] == "reward_weight=0.3" and found["tasks"] == {
        TASK["task"]: "Hopper-v5",
        WALKER["task"]: "Walker2d-v5",
    }
    assert row["runs"] == {TASK["task"]: 5, WALKER["task"]: 3}
    span = TASK["score_max"] - TASK["score_min"]
    last, best = [], []
    for source, count in (("a", 5), ("b", 3)):
        returns = np.load(folder / source / "returns.npz")
        table = np.array(
            [
                [
                    returns[f"reward_weight=0.3,seed={seed}@{step}"].mean()
                    for step in range(1000, 7000, 1000)
                ]
                for seed in range(count)
            ]
        )
        scores = 100 * (table - TASK["score_min"]) / span
        last.append(scores[:, -1])
        best.append(scores.max(axis=1))
    for selection, expected in (("offline", last), ("online", best)):
        for name, statistic in (("mean", mean), ("iqm", iqm), ("median", median)):
            numbers = [row[selection][name][end] for end in ("value", "low", "high")]
            assert numbers == pytest.approx(estimate(expected, statistic))
    assert row["offline"]["episodes"] == 8 * 10
    assert row["online"]["episodes"] == 8 * 6 * 10
    assert row["offline"]["improvement"]["value"] > 0.9
    assert found["groups"][0]["offline"]["improvement"] is None


def test_non_finite_member_is_reported_and_not_scored(compared):
    folder, text, found = compared
    row = found["groups"][2]
    (diverged,) = row["non_finite"]
    assert (diverged["seed"], diverged["from_step"]) == (4, 4000)
    assert row["runs"][TASK["task"]] == 4 and row["members"] == 8
    for selection in ("offline", "online"):
        ours = [r for r in row[selection]["scores"] if r["task"] == TASK["task"]]
        assert [r["seed"] for r in ours] == [0, 1, 2, 3]
    # Its three finite checkpoints were evaluated all the same.
    assert row["online"]["episodes"] == (7 * 6 + 3) * 10
    assert "1 of 24 trainings became non-finite: reward_weight=1,seed=4" in text
    assert "| 1 of 8 |" in text


def test_a_group_without_a_finite_run_has_no_score(tmp_path):
    scores = {1000: [1.0, 2.0], 2000: [3.0, 4.0]}
    write_members(
        tmp_path / "sweep",
        [
            member_rows({"w": 0}, 0, scores),
            member_rows({"w": 0}, 1, scores),
            member_rows({"w": 9}, 0, scores, last_finite=0),
            member_rows({"w": 9}, 1, scores, last_finite=1000),
        ],
    )
    text = write_comparison([tmp_path / "sweep"], tmp_path / "out", baseline="9")
    assert "| 0 | 2 | 0 of 2 | 3.5 [3.5, 3.5]" in text
    assert "| 9 | 0 | 2 of 2 | - | - | - | - | - | - | - | 2 |" in text
    assert "2 of 4 trainings became non-finite" in text


def test_main_runs_and_says_how(tmp_path):
    """One seed, so no intervals."""
    write_sweep(tmp_path / "sweep", weights=(0, 1), seeds=1)
    flags = [f"--results={tmp_path / 'sweep'}", f"--output={tmp_path / 'out'}"]
    done = run_main("aggregate", *flags, "--by=reward_weight", "--baseline=0")
    assert f"`python -m experiments.aggregate {flags[0]}" in done.stdout
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) == 4 and not any("[" in row for row in rows)
    assert (tmp_path / "out.md").read_text().strip() == done.stdout.strip()
