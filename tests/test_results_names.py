"""Names of results: another question, another file; the same one, the same file."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import ractd_jax
from ractd_jax.data.episodes import build_episodes
from ractd_jax.data.sources import make_dataset
from ractd_jax.errors import CheckpointError, ConfigError, DataError
from ractd_jax.evaluation.results import load_results, save_results
from ractd_jax.pipelines import evaluations
from ractd_jax.pipelines.entries import Entry, evaluate_entry, load_entry
from ractd_jax.pipelines.evaluations import (
    asked,
    evaluate_to_files,
    results_path,
    usual_evaluation,
)
from ractd_jax.settings import Controller, Environment
from ractd_jax.storage.checkpoint import StoredModel
from ractd_jax.storage.trained import reference
from ractd_jax.training.stages import plan_stage, reward_stage
from tests.conftest import run_main
from tests.export.conftest import make_planner
from tests.test_planner import made_up_results
from tests.toys import save_untrained, toy_settings

PENDULUM = {
    "environment": {"id": "Pendulum-v1", "score_min": -2000.0, "score_max": 0.0},
    "network": {"kind": "mlp", "mlp_width": 8, "embed_dim": 8},
    "evaluation": {"num_episodes": 1, "seed": 3, "temperature": 0.5},
}


def swings():
    """Episodes of Pendulum's sizes."""
    rng, steps = np.random.default_rng(0), 60
    return make_dataset(
        "swings",
        build_episodes(
            {
                "observations": rng.uniform(-1, 1, (steps, 3)),
                "actions": rng.uniform(-2, 2, (steps, 1)),
                "rewards": rng.standard_normal(steps),
                "terminals": np.zeros(steps, bool),
                "timeouts": np.arange(1, steps + 1) % 20 == 0,
            },
            "swings",
        ),
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """An untrained student and its reward model, where blanks and umlauts are."""
    folder = tmp_path_factory.mktemp("runs") / "Läufe und mehr"
    settings, data = toy_settings(**PENDULUM), swings()
    save_untrained(reward_stage(settings, data), folder / "models/reward")
    stage = plan_stage("teacher", settings, data)
    about = {"reward": reference(StoredModel(folder / "models/reward"))}
    stage = dataclasses.replace(stage, metadata=stage.metadata | about)
    save_untrained(stage, folder / "teacher")
    return folder


def name_of(planner, **changes) -> str:
    environment = changes.pop("environment", None)
    evaluation = usual_evaluation(planner, environment, **changes)
    return results_path(planner, evaluation, Path("any")).name


def test_everything_that_is_asked_is_in_the_name(runs):
    def load(**options):
        return ractd_jax.load_planner(runs / "teacher", num_steps=2, **options)

    planner = load()
    settings = planner.settings
    names = [name_of(planner), name_of(load(weights="raw"))]
    names += [name_of(planner, seed=4), name_of(planner, num_episodes=2)]
    names += [name_of(planner, noise="each_episode"), name_of(planner, num_workers=2)]
    names += [name_of(load(temperature=t)) for t in (0.0, 0.1, 0.100000001)]
    names += [name_of(load(precision="bfloat16")), name_of(load(num_candidates=2))]
    names += [name_of(ractd_jax.load_planner(runs / "teacher", num_steps=3))]
    names += [
        name_of(planner, environment=dataclasses.replace(settings.environment, **other))
        for other in ({"id": "a:Pendulum-v1"}, {"id": "a/Pendulum-v1"}, {"spec": "{}"})
    ]
    assert len(set(names)) == len(names)
    assert names[0].startswith("teacher_2steps_temperature0.5_1episodes_seed3_")
    assert "raw_weights" in names[1] and "best_of_2_reward" in names[10]
    assert not any(set("/: ") & set(name) for name in names)
    # What the scores are made of is no part of the episodes.
    scores = dataclasses.replace(settings.environment, score_max=7.0)
    assert name_of(planner, environment=scores) == name_of(load()) == names[0]


def test_a_planner_of_states_is_asked_with_its_controller():
    planner = make_planner()
    planner.source["directory"] = "x/ctd"
    names = {
        name_of(planner, controller=Controller(**options))
        for options in ({}, {"gain_velocity": 2.0}, {"replan_every": 5}, {"kind": "p"})
    }
    assert len(names) == 4 and all("replan" in name for name in names)


def test_a_model_is_known_by_its_checkpoint_not_by_its_place(runs, tmp_path):
    """Copied elsewhere it gives the same name; trained anew, another one."""
    shutil.copytree(runs, tmp_path / "copy")
    with_reward = {"num_candidates": 2}
    before = name_of(ractd_jax.load_planner(runs / "teacher", **with_reward))
    copy = tmp_path / "copy/teacher"
    assert name_of(ractd_jax.load_planner(copy, **with_reward)) == before
    other = toy_settings(**PENDULUM, reward={"num_members": 3})
    save_untrained(reward_stage(other, swings()), tmp_path / "other")
    found = ractd_jax.load_planner(copy, reward=tmp_path / "other", **with_reward)
    assert asked(found, usual_evaluation(found))["reward"]
    assert name_of(found) != before


def test_a_moved_run_finds_its_reward_model_or_says_which_is_missing(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "a")
    gone = tmp_path / "gone"
    stage = plan_stage("teacher", toy_settings(**PENDULUM), swings())
    about = {"reward": reference(StoredModel(tmp_path / "a/models/reward"))}
    stage = dataclasses.replace(stage, metadata=stage.metadata | about)
    save_untrained(stage, tmp_path / "a/student")
    (tmp_path / "a").rename(gone)
    planner = ractd_jax.load_planner(gone / "student", num_candidates=2)
    assert planner.source["reward_directory"] == str(gone / "models/reward")
    shutil.rmtree(gone / "models")
    with pytest.raises(CheckpointError) as caught:
        ractd_jax.load_planner(gone / "student", num_candidates=2)
    for part in ("reward model", str(gone / "models/reward"), "--reward"):
        assert part in str(caught.value)
    assert f"{tmp_path}/a/models/reward" in str(caught.value)


def test_guided_plans_have_no_name():
    planner = make_planner("teacher", 2)
    planner.guidance = (lambda denoise_fn: denoise_fn,)
    with pytest.raises(ConfigError, match="^guidance: expected none"):
        results_path(planner, usual_evaluation(planner), Path("x"))


def test_an_unwritable_folder_is_found_before_the_first_episode(
    runs, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluations, "evaluate_planner", None)
    planner = ractd_jax.load_planner(runs / "teacher", num_steps=2)
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match="taken.*expected a file that can be written"):
        evaluate_to_files(planner, usual_evaluation(planner), tmp_path / "taken")


def test_no_other_answer_is_overwritten_and_the_same_one_is(runs, tmp_path):
    planner = ractd_jax.load_planner(runs / "teacher", num_steps=1)
    for seed in (3, 5, 3):
        evaluation = usual_evaluation(planner, seed=seed)
        found = evaluate_to_files(planner, evaluation, tmp_path / "new/folder")
    assert found["asked"] == asked(planner, evaluation)
    raw = sorted((tmp_path / "new/folder").glob("*.npz"))
    returns = [load_results(path).returns for path in raw]
    assert len(raw) == 2 and returns[0] != returns[1]
    assert len(list((tmp_path / "new/folder").iterdir())) == 4


def test_the_answer_says_what_its_scores_are_relative_to(runs, tmp_path):
    planner = ractd_jax.load_planner(runs / "teacher", num_steps=1)
    evaluation = usual_evaluation(planner)
    scale = dataclasses.replace(evaluation.environment, score_source="the ruler")
    found = evaluate_to_files(planner, evaluation._replace(environment=scale), tmp_path)
    (stored,) = tmp_path.glob("*.json")
    assert json.loads(stored.read_text())["score_source"] == "the ruler"
    assert found["score_source"] == "the ruler"


def test_events_are_drawn_beside_the_answer(runs, tmp_path, monkeypatch):
    """Where the environment family names some; the statistics have their shares."""
    events = {"events": np.array([[2], [-1]]), "event_names": np.array(["lamp"])}
    results = made_up_results([1.0, 0.0])._replace(**events)
    monkeypatch.setattr(evaluations, "evaluate_actions", lambda *_: results)
    planner = ractd_jax.load_planner(runs / "teacher", num_steps=1)
    found = evaluate_to_files(planner, usual_evaluation(planner), tmp_path)
    assert found["events"] == {"lamp": {"share": 0.5, "median_step": 2.0}}
    (raw,) = tmp_path.glob("*.npz")
    assert load_results(raw).event_names.tolist() == ["lamp"]
    picture = raw.with_name(f"{raw.stem}_events.png")
    assert found["events_picture"] == str(picture) and picture.exists()


@pytest.mark.slow
def test_the_main_overwrites_no_other_answer(runs, tmp_path):
    given = f"--checkpoint={runs / 'teacher'}", "--num_steps=1"
    run_main("evaluate", *given)
    (first,) = (runs / "teacher/evaluation").glob("*.npz")
    before = load_results(first).returns
    run_main("evaluate", *given, "--weights=raw")
    done = run_main("evaluate", *given, "--seed=6", f"--output={tmp_path / 'x/y'}")
    assert len(list(first.parent.glob("*.npz"))) == 2
    np.testing.assert_array_equal(load_results(first).returns, before)
    (elsewhere,) = (tmp_path / "x/y").glob("*.json")
    found = json.loads(elsewhere.read_text())
    assert found == json.loads(done.stdout) and found["asked"]["seed"] == 6
    refused = run_main("evaluate", *given, "--controller=pursuit", check=False)
    assert "error: --controller: expected none with a planner of" in refused.stderr


def test_a_pipelines_answer_is_of_its_own_question(runs, tmp_path, monkeypatch):
    """Asked again it is read; in another environment it is asked anew."""
    settings = toy_settings(**PENDULUM)
    entry, calls = Entry("teacher", num_steps=1), []
    planner = load_entry(entry, runs)
    monkeypatch.setattr(
        "ractd_jax.pipelines.entries.evaluate_actions",
        lambda planner, evaluation, label: (
            calls.append(evaluation) or load_results(stored)
        ),
    )
    stored = tmp_path / "stored.npz"
    save_results(stored, made_up_results([1.0]))
    for _ in range(2):
        evaluate_entry("x", entry, planner, settings, runs)
    other = dataclasses.replace(settings, environment=Environment("Acrobot-v1"))
    evaluate_entry("x", entry, planner, other, runs)
    assert [call.environment.id for call in calls] == ["Pendulum-v1", "Acrobot-v1"]
