"""The registry of readers, and what the rest of the package makes of what they read."""

import importlib.util
import json
import re

import gymnasium
import numpy as np
import pytest

from configs.any_dataset import get_config
from ractd_jax.data.origin import Origin
from ractd_jax.data.readers import READERS, Reader, read_source, register_reader
from ractd_jax.data.sources import load_resolved
from ractd_jax.errors import ConfigError, DataError
from ractd_jax.inspection.dataset import inspect_dataset
from ractd_jax.settings import from_mapping
from ractd_jax.training.stages import make_stage
from tests.conftest import ROOT, run_main
from tests.readers.layouts import (
    SIZE,
    lerobot_columns,
    lerobot_info,
    mdp_dataset_arrays,
    read,
    save_hdf5,
)
from tests.readers.samples import PENDULUM, SAMPLES, save_demonstrations, save_goals
from tests.toys import toy_dataset

needs_pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None,
    reason="pyarrow is not installed (pip install ractd_jax[lerobot])",
)
WITH_REWARDS = [
    pytest.param(name, marks=[needs_pyarrow] if source == "lerobot" else [])
    for name, (source, write) in SAMPLES.items()
    if write is not save_goals
]


@pytest.fixture
def goals_only(tmp_path):
    """Settings of plans of two actions on a set without rewards."""
    path = tmp_path / "goals.npz"
    save_goals(path)

    def settings(**sections):
        dataset = {"source": "ogbench", "path": str(path)}
        given = {"plan": {"horizon": 2}, "network": {"kind": "mlp"}, **sections}
        given["dataset"] = dataset | given.get("dataset", {})
        return from_mapping(given)

    return settings


def test_an_unknown_source_is_named():
    with pytest.raises(ConfigError, match=r"dataset\.source: .*lerobot.*found 'zarr'"):
        read("zarr", "somewhere")


@pytest.mark.parametrize("source", READERS)
def test_the_empty_field_is_named(source):
    field = READERS[source].field
    settings = from_mapping({"dataset": {"source": source}})
    with pytest.raises(ConfigError, match=rf"config\.dataset\.{field}: expected a da"):
        read_source(settings.dataset, "auto")


@pytest.mark.parametrize("field", ["observation_keys", "filter_key"])
def test_a_choice_that_a_reader_does_not_take_is_refused(field):
    with pytest.raises(ConfigError, match=rf"config\.dataset\.{field}: expected noth"):
        read("d3rlpy", "a.h5", **{field: "hand"})


def test_a_reader_of_ones_own(monkeypatch):
    """By a function that gets the settings and the rule for Dict observations."""
    monkeypatch.setattr("ractd_jax.data.readers.READERS", dict(READERS))
    episodes, seen = toy_dataset().episodes, []

    def read_mine(options, flatten):
        seen.append((options.path, flatten))
        return episodes, Origin("Pendulum-v1")

    register_reader("mine", Reader(read_mine))
    dataset = {"source": "mine", "path": "a place"}
    settings, dataset = load_resolved(
        from_mapping({"dataset": dataset}), inspecting=True
    )
    assert dataset.episodes is episodes and dataset.name == "a place"
    assert settings.environment.id == "Pendulum-v1"
    assert seen == [("a place", "auto")]


def test_the_keys_of_observations_are_stored_with_a_model(tmp_path):
    path = tmp_path / "demo.hdf5"
    save_demonstrations(path)
    settings = {"source": "robomimic", "path": str(path)}
    settings, dataset = load_resolved(
        from_mapping({"dataset": settings}), inspecting=True
    )
    stage = make_stage("teacher", settings, dataset)
    stored = stage.metadata["settings"]["dataset"]
    assert stored["observation_keys"] == "gripper,hand"
    assert stage.metadata["settings"]["environment"]["id"] == "Pendulum-v1"
    # The next time they are asked for by name, which is the same config.
    again, _ = load_resolved(from_mapping(stage.metadata["settings"]), inspecting=True)
    assert again == settings


@pytest.mark.parametrize(
    ("stage", "sections", "learner"),
    [
        ("teacher", {"dataset": {"weighting": "top"}}, "dataset.weighting = 'top'"),
        ("bc", {"dataset": {"weighting": "both"}}, "dataset.weighting = 'both'"),
        ("teacher", {"plan": {"return_condition": True}}, "plan.return_condition"),
        ("reward", {}, "reward.target = 'return_to_go'"),
        ("critic", {}, "a critic"),
        ("td3_bc", {"plan": {"horizon": 1}}, "TD3"),
    ],
)
def test_what_learns_from_rewards_refuses_data_without(
    goals_only, stage, sections, learner
):
    settings, dataset = load_resolved(goals_only(**sections))
    with pytest.raises(DataError, match=re.escape(learner)) as caught:
        make_stage(stage, settings, dataset)
    assert caught.value.field == "rewards"


def test_what_needs_no_rewards_takes_data_without(goals_only):
    """Plans of all windows, and reward models of goals reached."""
    settings, dataset = load_resolved(goals_only())
    assert make_stage("teacher", settings, dataset).num_rows == SIZE
    of_states = {
        "plan": {"kind": "states", "horizon": 2},
        "reward": {"target": "goal_return"},
    }
    settings, dataset = load_resolved(goals_only(**of_states))
    assert make_stage("reward", settings, dataset).num_rows > 0


def test_an_inspection_says_that_there_are_no_rewards(goals_only):
    settings, dataset = load_resolved(goals_only(dataset={"weighting": "top"}))
    report = inspect_dataset(settings, dataset, -1.0, 1.0)
    assert "needs rewards, and the data holds none" in report.text
    assert report.about["training_windows"] is None


@needs_pyarrow
def test_the_commands_in_the_docs_print_what_is_there(tmp_path, monkeypatch, caplog):
    """Those of docs/data.md on the samples, as settings of the same names."""
    page = (ROOT / "docs/data.md").read_text().replace("\\\n", " ")
    found = re.findall(
        r"( +python -m exp.*runs/samples.*)\n\n.*\n\n((?: {4}.*\n)+)", page
    )
    assert len(found) == 4
    monkeypatch.chdir(tmp_path)
    for name, (_, write) in SAMPLES.items():
        (tmp_path / "runs/samples").mkdir(parents=True, exist_ok=True)
        write(tmp_path / "runs/samples" / name)
    for command, printed in found:
        given = re.findall(r"--config\.dataset\.(\w+)=(\S+)", command)
        config = get_config("cpu").to_dict()
        config["dataset"] |= dict(given)
        settings, dataset = load_resolved(from_mapping(config), inspecting=True)
        text = inspect_dataset(settings, dataset, -1.0, 1.0).text + caplog.text
        for line in printed.splitlines():
            assert line.strip() in text


def test_without_pyarrow_the_command_is_named(tmp_path, monkeypatch):
    data = tmp_path / "data/chunk-000"
    data.mkdir(parents=True)
    (data / "file-000.parquet").touch()
    (tmp_path / "meta").mkdir()
    info = json.dumps(lerobot_info(lerobot_columns()))
    (tmp_path / "meta/info.json").write_text(info)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install ractd_jax\[lerobot\]"):
        read("lerobot", tmp_path)


@pytest.mark.parametrize("name", WITH_REWARDS)
def test_what_is_read_is_inspected(name, tmp_path):
    source, write = SAMPLES[name]
    write(tmp_path / name)
    dataset = {"source": source, "path": str(tmp_path / name)}
    settings = from_mapping({"dataset": {**dataset, "weighting": "advantage"}})
    report = inspect_dataset(*load_resolved(settings, inspecting=True), -1.0, 1.0)
    assert report.about["num_episodes"] == 4 and report.about["observation_dim"] == 4
    assert report.about["training_windows"]["of"] == SIZE


def flags_of(source, path, *flags):
    return (
        "--config=configs/any_dataset.py:smoke",
        f"--config.task={source}",
        f"--config.dataset.source={source}",
        f"--config.dataset.path={path}",
        "--config.dataset.weighting=advantage",
        *flags,
    )


@pytest.mark.slow
def test_the_main_inspects(tmp_path):
    save_demonstrations(tmp_path / "demo.hdf5")
    output = f"--output={tmp_path / 'out'}"
    flags = flags_of("robomimic", tmp_path / "demo.hdf5", output)
    done = run_main("inspect_dataset", *flags)
    assert "4 episodes" in done.stdout and "advantage weighting" in done.stdout
    assert "left out, as they are no vectors: front_image" in done.stderr
    assert json.loads((tmp_path / "out/inspection.json").read_text())["action_dim"] == 2


def train_clone(source, path, workdir, *flags):
    """Eight steps of behaviour cloning by the main; its last line of metrics."""
    flags = flags_of(source, path, f"--workdir={workdir}", *flags)
    run_main("train", "--stage=bc", *flags)
    return json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", [p for p in WITH_REWARDS if "buffer.h5" not in p[0]])
def test_the_mains_train(name, tmp_path):
    """On a file of each source."""
    source, write = SAMPLES[name]
    write(tmp_path / name)
    given = () if source != "robomimic" else ("--config.dataset.filter_key=train",)
    given += ("--config.environment.id=none",)
    metrics = train_clone(source, tmp_path / name, tmp_path / "bc", *given)
    assert metrics["step"] == 8


@pytest.mark.slow
def test_a_known_environment_is_evaluated_in(tmp_path):
    """Two episodes of the pendulum, stored as demonstrations of two vectors."""
    arrays, env = {}, gymnasium.make("Pendulum-v1", max_episode_steps=30)
    for demo in range(2):
        observation, _ = env.reset(seed=demo)
        env.action_space.seed(demo)
        steps = []
        for _ in range(30):
            action = env.action_space.sample()
            following, reward, *_ = env.step(action)
            steps.append((observation[:2], observation[2], action, reward))
            observation = following
        names = "obs/angle", "obs/speed", "actions", "rewards"
        for name, values in zip(names, zip(*steps, strict=True), strict=True):
            arrays[f"data/demo_{demo}/{name}"] = np.array(values)
    path = tmp_path / "pendulum.hdf5"
    save_hdf5(path, arrays, {("data", "env_args"): json.dumps(PENDULUM)})
    train_clone("robomimic", path, tmp_path / "bc")
    done = run_main("evaluate", f"--checkpoint={tmp_path / 'bc'}", "--num_episodes=1")
    assert "Pendulum-v1" in done.stdout + done.stderr


def test_a_damaged_file_ends_a_main_in_one_line(tmp_path):
    path = tmp_path / "data.hdf5"
    save_hdf5(path, {**mdp_dataset_arrays(), "rewards": [np.nan] * SIZE})
    workdir = tmp_path / "run"
    flags = flags_of("d3rlpy", path, f"--workdir={workdir}")
    done = run_main("train_teacher", *flags, check=False)
    assert done.returncode == 1 and not workdir.exists()
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(f"error: {path}: field 'rewards': expected finite")
