"""Grids: members are the runs they would have been alone, faults stay their own."""

import json
import logging

import jax
import numpy as np
import pytest

import ractd_jax
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.members import evaluate_members
from ractd_jax.evaluation.rollout import evaluate_planner
from ractd_jax.settings import from_mapping
from ractd_jax.training.grid import Grid, make_grid, member_settings, shared_settings
from ractd_jax.training.loop import train
from ractd_jax.training.stages import (
    make_stage,
    reward_stage,
    student_stage,
)
from ractd_jax.training.sweep import train_grid
from tests.conftest import SMOKE_FLAGS, run_main
from tests.toys import toy_dataset, toy_settings, with_loss

RUN = {"steps_per_call": 2, "log_every": 2, "checkpoint_every": 4}


def settings_of(run=RUN, **student):
    sizes = {"plan": {"horizon": 16}, "network": {"widths": (16,)}}
    student = {"num_paths": 32, "path_batch_size": 8, "path_steps": 3} | student
    return toy_settings(8, run=run, student=student, **sizes)


@pytest.fixture(scope="module")
def dataset():
    return toy_dataset()


@pytest.fixture(scope="module")
def folder(dataset, tmp_path_factory):
    """A tiny teacher and reward ensemble."""
    folder = tmp_path_factory.mktemp("trained")
    for name in ("teacher", "reward"):
        stage = make_stage(name, settings_of(), dataset)
        train(stage, settings_of().run, 0, folder / name)
    return folder


def stage_of(name, dataset, folder, settings):
    if name != "student":
        return make_stage(name, settings, dataset)
    return student_stage(settings, dataset, folder / "teacher", folder / "reward")


def logged(folder) -> dict[int, dict[str, float]]:
    """Step -> losses and fidelity, which a member logs as a training alone does."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {
        row["step"]: {
            name: value
            for name, value in row.items()
            if name.startswith(("loss/", "fidelity/"))
        }
        for row in rows
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "base", "sweep"),
    [
        ("teacher", {}, "learning_rate=1e-3,3e-3"),
        ("reward", {}, ""),
        ("student", {}, "reward_weight=0.2,1;learning_rate=1e-3"),
        ("student", {}, "pessimism=0,2;dsm_weight=0,1"),
        # The base and the swept values on either side of what leaves a term out.
        ("student", {"advantage_cap": None}, "advantage_cap=none,0.001"),
        ("student", {"advantage_cap": None}, "advantage_cap=0,none"),
        ("student", {"advantage_cap": 0.001}, "advantage_cap=none,0"),
        ("student", {"reward_weight": 0.0}, "reward_weight=0,1"),
        ("student", {"path_weight": 0.0}, "path_weight=0,2;ctm_weight=1"),
        ("student", {"path_weight": 1.0}, "path_weight=2,0"),
    ],
)
def test_members_are_the_runs_they_would_have_been_alone(
    dataset, folder, tmp_path, name, base, sweep
):
    settings = settings_of(**base)
    grid = make_grid(sweep, 2, name)
    stage = stage_of(name, dataset, folder, shared_settings(name, grid, settings))
    _, finite = train_grid(stage, grid, settings.run, tmp_path / "grid")
    assert finite.all() and len(finite) == len(grid.members)
    for i in (0, len(grid.members) - 1):
        member = grid.members[i]
        own = from_mapping(member_settings(name, member), settings)
        assert own.seed == member.seed
        train(
            stage_of(name, dataset, folder, own), own.run, own.seed, tmp_path / str(i)
        )
        found = logged(tmp_path / "grid/members" / member.name)
        assert found.keys() == {2, 4, 6, 8}
        assert ("fidelity/spread" in found[8]) == (name == "student")
        for step, row in logged(tmp_path / str(i)).items():
            # A term that the member weights with 0 is logged in the grid alone.
            same = {name: found[step][name] for name in row}
            assert same == pytest.approx(row, rel=1e-4, abs=1e-4)


@pytest.mark.slow
def test_a_member_that_is_not_finite_is_frozen_and_the_others_go_on(
    dataset, tmp_path, caplog
):
    settings = settings_of(RUN | {"steps_per_call": 1, "log_every": 1})
    stage = reward_stage(settings, dataset)
    good = Grid([0], [{"learning_rate": 1e-3}])
    expected, _ = train_grid(stage, good, settings.run, tmp_path / "good")
    both = Grid([0], [{"learning_rate": 1e12}, {"learning_rate": 1e-3}])
    with caplog.at_level(logging.WARNING, logger="absl"):
        states, finite = train_grid(stage, both, settings.run, tmp_path / "both")
    assert finite.tolist() == [False, True]
    assert "learning_rate=1e+12,seed=0 is not finite by step" in caplog.text
    last = int(states.step[0])
    assert 0 < last < 8
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[1], b[0], rtol=1e-5, atol=1e-6),
        states,
        expected,
    )
    for leaf in jax.tree.leaves(states.params):
        assert np.isfinite(leaf).all()
    for rate, steps in (("1e+12", last), ("0.001", 8)):
        rows = logged(tmp_path / f"both/members/learning_rate={rate},seed=0")
        assert list(rows) == list(range(1, steps + 1))
        # Finite parameters of that size may overflow on the held-out data.
        assert np.isfinite([row["loss/mse"] for row in rows.values()]).all()


@pytest.mark.slow
def test_a_resumed_grid_is_the_uninterrupted_one(dataset, tmp_path):
    settings = settings_of()
    stage = reward_stage(settings, dataset)
    grid = make_grid("learning_rate=1e-3,1e-2", 2, "reward")
    whole, _ = train_grid(stage, grid, settings.run, tmp_path / "whole")
    seen = []

    def stop(step, states, finite):
        seen.append(step)
        if len(seen) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_grid(stage, grid, settings.run, tmp_path / "cut", stop)
    resumed, _ = train_grid(stage, grid, settings.run, tmp_path / "cut", stop)
    assert seen == [4, 4, 8]
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)


@pytest.mark.slow
def test_one_program_serves_all_members(dataset, tmp_path):
    """The loss is traced as often for six members as for one."""
    settings = settings_of()
    stage = reward_stage(settings, dataset)
    traces = []

    def counted(*args):
        traces.append(1)
        return stage.method.loss(*args)

    counts = []
    for sweep, seeds in (("", 1), ("learning_rate=1e-3,2e-3,3e-3", 2)):
        traces.clear()
        train_grid(
            with_loss(stage, counted),
            make_grid(sweep, seeds, "reward"),
            settings.run,
            tmp_path / str(seeds),
        )
        counts.append(len(traces))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("widths=1,2", "expected each of learning_rate, .* found 'widths'"),
        ("reward_weight=a", "expected numbers .* found 'a'"),
        ("reward_weight=none", "expected numbers .* found 'none'"),
        ("advantage_cap=0,inf", r"config\.student\.advantage_cap: expected .* inf"),
        ("reward_weight=1,1", "has a value twice"),
        ("reward_weight=1;reward_weight=2", "at most once"),
    ],
)
def test_bad_grids_are_named(sweep, message):
    with pytest.raises(ConfigError, match=message):
        make_grid(sweep, 1, "student")


@pytest.mark.slow
def test_the_main_trains_evaluates_and_resumes(smoke_run, tmp_path):
    """As a user runs it; members load as any checkpoint."""
    flags = (
        *SMOKE_FLAGS,
        f"--config.dataset.root={smoke_run}/datasets",
        f"--teacher={smoke_run}/teacher",
        f"--reward={smoke_run}/reward",
        f"--workdir={tmp_path}",
        "--sweep=reward_weight=0,1",
        "--seeds=2",
    )
    run_main("sweep", *flags)
    rows = [
        json.loads(x) for x in (tmp_path / "results.jsonl").read_text().splitlines()
    ]
    assert [(row["name"], row["step"]) for row in rows] == [
        (f"reward_weight={weight},seed={seed}", step)
        for step in (4, 8)
        for seed in (0, 1)
        for weight in (0, 1)
    ]
    with np.load(tmp_path / "returns.npz") as returns:
        for row in rows:
            raw = returns[f"{row['name']}@{row['step']}"]
            assert raw.shape == (2,)
            np.testing.assert_allclose(raw.mean(), row["return_mean"])
    before = (tmp_path / "results.jsonl").read_text()
    run_main("sweep", *flags)
    assert (tmp_path / "results.jsonl").read_text() == before
    done = run_main("sweep", *flags, "--seeds=3", check=False)
    assert done.returncode == 1 and "holds another sweep" in done.stderr
    planner = ractd_jax.load_planner(tmp_path / "members/reward_weight=1,seed=1")
    assert planner.settings.student.reward_weight == 1.0 and planner.settings.seed == 1
    found = evaluate_planner(planner, planner.settings.environment, 2, 10_000)
    np.testing.assert_allclose(found.returns.mean(), rows[-1]["return_mean"], rtol=1e-3)


def test_members_are_evaluated_as_alone(smoke_run):
    planners = [ractd_jax.load_planner(smoke_run / name) for name in ("ctd", "ractd")]
    params = jax.tree.map(
        lambda *leaves: np.stack(leaves), *(planner.params for planner in planners)
    )
    environment = planners[0].settings.environment
    together = evaluate_members(planners[0], params, environment, 3, 5)
    for planner, found in zip(planners, together, strict=True):
        alone = evaluate_planner(planner, environment, 3, 5)
        np.testing.assert_array_equal(found.seeds, alone.seeds)
        np.testing.assert_allclose(found.returns, alone.returns, rtol=1e-3)
