"""docs/extending.md, run: a family, a guidance rule, a method and a reader."""

import json
import re
import sys
import types
from pathlib import Path

import gymnasium
import jax
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

import ractd_jax
from ractd_jax import methods, tasks
from ractd_jax.data import readers
from ractd_jax.data.sources import load_resolved
from ractd_jax.errors import DataError
from ractd_jax.evaluation.rollout import evaluate_planner
from ractd_jax.planning.denoising import denoising_path
from ractd_jax.reports.statistics import summarize
from ractd_jax.settings import from_mapping
from ractd_jax.training.loop import train
from ractd_jax.training.stages import plan_stage

# Minari asks for an author and a link.
pytestmark = pytest.mark.filterwarnings("ignore:`:UserWarning")

PAGE = Path(__file__).parents[1] / "docs/extending.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
SETTINGS = {
    "task": "pendulum",
    "dataset": {"id": "tests/pendulum-v0"},
    "plan": {"horizon": 4},
    "network": {"kind": "mlp", "mlp_width": 32, "embed_dim": 8},
    "diffusion": {"sigma_data": None},
    "teacher": {
        "num_steps": 100,
        "batch_size": 32,
        "optimizer": {"learning_rate": 3e-3, "warmup_steps": 2},
    },
    "evaluation": {"num_episodes": 2, "teacher_steps": 4},
    "run": {"steps_per_call": 10, "log_every": 10, "checkpoint_every": 100},
}


@pytest.fixture(scope="module")
def extension():
    """The page's four examples as one module; what they register is taken back."""
    module = types.ModuleType("extension")
    sys.modules["extension"] = module
    registries = tasks._TASKS, methods.PLAN_METHODS, readers.READERS
    before = [dict(registry) for registry in registries]
    for example in EXAMPLES:
        exec(compile(example, str(PAGE), "exec"), module.__dict__)
    yield module
    for registry, names in zip(registries, before, strict=True):
        registry.clear()
        registry.update(names)
    del sys.modules["extension"]


@pytest.fixture(scope="module")
def settings(extension, tmp_path_factory):
    """With real episodes of the pendulum, whose actions are numbers of torques."""
    root = tmp_path_factory.mktemp("datasets")
    env, rng = gymnasium.make("Pendulum-v1"), np.random.default_rng(0)
    buffers = []
    for episode in range(4):
        observation, _ = env.reset(seed=episode)
        seen, actions, rewards = [observation], [], []
        for _ in range(200):
            # Along with the swing, at times against it.
            choice = 2 if observation[2] > 0 else 0
            choice = int(rng.integers(3)) if rng.random() < 0.2 else choice
            observation, reward, *_ = env.step(extension.TORQUES[[choice]])
            seen.append(observation)
            actions.append(choice)
            rewards.append(reward)
        ends = np.arange(200) == 199
        buffers.append(
            EpisodeBuffer(
                observations=np.array(seen),
                actions=np.array(actions),
                rewards=rewards,
                terminations=[False] * 200,
                truncations=ends.tolist(),
            )
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        minari.create_dataset_from_buffers(
            "tests/pendulum-v0",
            buffers,
            env="Pendulum-v1",
            action_space=gymnasium.spaces.Discrete(3),
            observation_space=env.observation_space,
        )
    return from_mapping(
        {**SETTINGS, "dataset": {"id": "tests/pendulum-v0", "root": str(root)}}
    )


@pytest.fixture(scope="module")
def resolved(settings):
    return load_resolved(settings)


@pytest.fixture(scope="module")
def folders(resolved, tmp_path_factory):
    """Trained: the package's teacher and the page's flow."""
    folder = tmp_path_factory.mktemp("runs")
    settings, dataset = resolved
    for name in ("teacher", "flow"):
        stage = plan_stage(name, settings, dataset)
        train(stage, settings.run, settings.seed, folder / name)
    return folder


def test_each_example_is_short():
    assert len(EXAMPLES) == 4
    assert max(len(example.splitlines()) for example in EXAMPLES) < 50


def test_data_and_environment_speak_the_families_language(resolved):
    settings, dataset = resolved
    assert dataset.episodes.actions.shape == (800, 3)
    assert set(np.unique(dataset.episodes.actions)) == {0.0, 1.0}
    assert (dataset.episodes.actions.sum(axis=1) == 1.0).all()
    assert settings.environment.score_max == -150.0


@pytest.mark.parametrize("name", ["teacher", "flow"])
def test_a_planner_of_the_family_acts(folders, resolved, name):
    settings, _ = resolved
    planner = ractd_jax.load_planner(folders / name)
    assert planner.dims.family == "pendulum"
    results = evaluate_planner(planner, settings.environment, 2, 0)
    assert results.lengths.tolist() == [200, 200]
    assert np.isfinite(summarize(results, settings.environment)["score_mean"])
    assert tasks.get_task("pendulum").success(results.returns).shape == (2,)


def test_the_flow_learns(folders):
    lines = (folders / "flow/metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss/flow"] for line in lines]
    assert losses[-1] < losses[0]


def test_the_rule_limits_every_plan(folders, extension, resolved):
    _, dataset = resolved
    observations, key = dataset.episodes.observations[:64], jax.random.key(0)
    free = ractd_jax.load_planner(folders / "teacher")
    guided = ractd_jax.load_planner(
        folders / "teacher", guidance=[extension.at_most(2, -0.5)]
    )

    def largest(planner):
        plans = planner.action_normalizer.normalize(planner.plan(observations, key))
        return float(np.asarray(plans)[..., 2].max())

    assert largest(free) > 0.5
    # A plan keeps the noise of the lowest level, sigma_min = 0.02.
    assert largest(guided) <= -0.5 + 0.1
    # So do the pictures of its way.
    _, states = denoising_path(guided, observations[0], key, 2)
    assert guided.action_normalizer.normalize(states[-1])[..., 2].max() <= -0.4


def test_guidance_of_what_does_not_denoise_is_refused(folders, extension):
    with pytest.raises(ValueError, match="guidance: expected none with a flow"):
        ractd_jax.load_planner(folders / "flow", guidance=[extension.at_most(2, 0.0)])


def test_the_reader_reads_tables(extension, tmp_path):
    """Steps of an episode in one file, of the next episode in another."""
    table = np.random.default_rng(0).normal(size=(7, 5))
    for name, rows in (("a.csv", table[:4]), ("b.csv", table[4:])):
        np.savetxt(tmp_path / name, rows, delimiter=",")
    mapping = {"dataset": {"source": "tables", "path": str(tmp_path)}}
    settings, dataset = load_resolved(from_mapping(mapping), inspecting=True)
    assert dataset.episodes.starts.tolist() == [0, 4, 7]
    np.testing.assert_array_equal(dataset.episodes.actions, np.float32(table[:, 3:4]))
    assert settings.environment.id == "Pendulum-v1"
    (tmp_path / "b.csv").write_text("0,1,0,nan,0\n")
    with pytest.raises(DataError, match="'actions'.*found nan in row 4"):
        load_resolved(from_mapping(mapping))
