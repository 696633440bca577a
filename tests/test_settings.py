"""Settings: the config files, their conversion, and their descriptions."""

import dataclasses
import importlib
import json
from pathlib import Path

import pytest

from ractd_jax import presets
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.methods import make_network
from ractd_jax.presets import base
from ractd_jax.recording.generate import dataset_id
from ractd_jax.settings import Settings, Student, from_mapping, to_dict
from ractd_jax.settings.__main__ import as_markdown
from ractd_jax.tasks.point_maze import MAZE2D, MAZES
from tests.settings_toys import (
    LEAVES,
    OPTIONAL,
    STAGES,
    assert_refused,
    lookup,
)

CONFIGS = sorted(
    path.stem
    for path in (Path(__file__).parents[1] / "configs").glob("*.py")
    if path.stem != "__init__"
)
MAZE_CONFIGS = [f"maze2d_{maze}" for maze in MAZES]
# sigma_r in Duan (2025), table B.4, and in Duan et al.'s code.
REWARD_WEIGHTS = {
    "hopper-medium-replay": (1.0, 1.0),
    "hopper-medium": (3.0, 1.0),
    "hopper-medium-expert": (0.0, 0.5),
    "halfcheetah-medium-replay": (1.0, 1.0),
    "halfcheetah-medium": (0.5, 0.5),
    "halfcheetah-medium-expert": (0.0, 0.0),
    "walker2d-medium-replay": (1.0, 0.5),
    "walker2d-medium": (0.4, 0.4),
    "walker2d-medium-expert": (0.2, 0.2),
}


def load(config: str, preset: str):
    return importlib.import_module(f"configs.{config}").get_config(preset)


# --- the config files


def test_every_task_has_a_config():
    assert len(CONFIGS) == 23
    found = {load(config, "smoke").task for config in CONFIGS}
    assert set(REWARD_WEIGHTS) | {f"pointmaze-{maze}" for maze in MAZES} <= found


def test_presets_by_name_are_the_config_files():
    assert sorted(presets.NAMES) == CONFIGS
    for config in CONFIGS:
        by_name = presets.get_config(f"{config}:smoke").to_dict()
        assert by_name == load(config, "smoke").to_dict()
    assert presets.get_config("any_dataset") == load("any_dataset", "cpu")
    with pytest.raises(ConfigError, match="--preset: expected one of hopper_medium, "):
        presets.get_config("hopper:cpu")


@pytest.mark.parametrize("preset", base.PRESETS)
@pytest.mark.parametrize("config", CONFIGS)
def test_config_becomes_settings(config, preset):
    """Strictly converted, of the task its file is named after, fit to be trained."""
    loaded = load(config, preset)
    settings = from_mapping(loaded.to_dict())
    assert settings == from_mapping(loaded)
    # The maze2d tasks are D4RL's protocol on the pointmaze data.
    task = settings.task.replace("pointmaze", "maze2d")
    assert task.replace("-", "_") == config
    if config == "kitchen_d4rl":
        assert settings.dataset.source == "d4rl"
    elif config != "any_dataset":
        assert settings.dataset.id == dataset_id(settings.task)
    dims = Dimensions(11, 3, settings.plan.horizon, settings.plan.history)
    make_network(settings.network, dims)
    of_goals = settings.reward.target != "return_to_go"
    of_states = config in MAZE_CONFIGS or config.startswith("antmaze_")
    assert (settings.plan.kind == "states") == of_goals == of_states
    for stage in (getattr(settings, name) for name in STAGES):
        assert stage.num_steps % settings.run.steps_per_call == 0
        assert stage.optimizer.warmup_steps < stage.num_steps
    assert settings.run.log_every % settings.run.steps_per_call == 0
    assert settings.run.checkpoint_every % settings.run.steps_per_call == 0
    members = settings.student.num_members
    assert members is None or members <= settings.reward.num_members
    if preset in ("paper", "released") and settings.task in REWARD_WEIGHTS:
        paper, released = REWARD_WEIGHTS[settings.task]
        expected = paper if preset == "paper" else released
        assert settings.student.reward_weight == expected


# Duan (2025), B.1 and B.4, and Duan et al.'s code: H, widths, student's batch, sigma_r.
MAZE_CHOICES = {
    "umaze": (128, (256, 512, 1024), 1_400, 1e-4),
    "medium": (256, (512, 1024, 2048), 320, 1e-4),
    "large": (384, (256, 512, 1024, 2048), 320, 1e-5),
}


@pytest.mark.parametrize("preset", ["paper", "released"])
@pytest.mark.parametrize("maze", MAZES)
def test_maze2d_presets_make_the_published_choices(maze, preset):
    settings = from_mapping(load(f"maze2d_{maze}", preset).to_dict())
    student = settings.student
    assert MAZE_CHOICES[maze] == (
        settings.plan.horizon,
        settings.network.widths,
        student.batch_size,
        student.reward_weight,
    )
    assert settings.environment.id == MAZE2D[maze]
    assert settings.network.embed_dim == 256
    assert settings.plan.conditioning == "film"
    assert settings.plan.goal == ("last" if preset == "released" else "arrival")


@pytest.mark.parametrize("config", CONFIGS)
def test_config_is_locked(config):
    """A misspelt override raises instead of setting what nobody reads."""
    loaded = load(config, "cpu")
    assert loaded.is_locked
    with pytest.raises((AttributeError, KeyError)):
        loaded.student.reward_wieght = 1.0


@pytest.mark.parametrize("config", CONFIGS)
def test_default_preset_is_cpu(config):
    module = importlib.import_module(f"configs.{config}")
    assert module.get_config().to_dict() == load(config, "cpu").to_dict()
    assert module.get_config("").to_dict() == load(config, "cpu").to_dict()


@pytest.mark.parametrize("config", CONFIGS)
def test_unknown_preset_is_refused(config):
    with pytest.raises(ValueError, match="cpu.*'papre'"):
        load(config, "papre")


def test_released_preset_makes_the_released_choices():
    """What Duan et al.'s code does."""
    settings = from_mapping(load("hopper_medium", "released").to_dict())
    expected = {
        "network.widths": (512, 1024, 2048),
        "network.embed_dim": 128,
        "plan.padding": "drop",
        "diffusion.init_noise_scale": 1.0,
        "diffusion.sigma_min": 0.02,
        "diffusion.sigma_max": 80.0,
        "diffusion.num_scales": 80,
        "teacher.distance": "released",
        "teacher.batch_size": 1024,
        "teacher.optimizer.learning_rate": 1e-4,
        "teacher.optimizer.weight_decay": 1e-6,
        "teacher.optimizer.beta1": 0.95,
        "teacher.optimizer.warmup_steps": 2000,
        "reward.num_members": 1,
        "reward.widths": (64, 128, 256),
        "reward.discount": 0.997,
        "reward.termination_penalty": -100.0,
        "reward.optimizer.learning_rate": 2e-4,
        "reward.optimizer.weight_decay": 1e-3,
        "student.batch_size": 4800,
        "student.dropout_rate": 0.2,
        "student.pessimism": 0.0,
        "student.dsm_form": "jump",
        "student.num_scales": None,
        "student.advantage_cap": None,
        "student.reward_input": "dsm",
        "student.teacher_weights": "raw",
        "student.target_ema": 0.0,
        "student.max_solver_steps": 1,
        "student.optimizer.weight_decay": 1e-4,
        "student.optimizer.warmup_steps": 500,
    }
    assert {name: lookup(settings, name) for name in expected} == expected


# --- conversion


@pytest.mark.parametrize("preset", base.PRESETS)
def test_round_trip_through_json(preset):
    """What a checkpoint stores comes back as it was, tuples included."""
    settings = from_mapping(load("hopper_medium", preset).to_dict())
    assert from_mapping(json.loads(json.dumps(to_dict(settings)))) == settings


def test_missing_keys_keep_defaults():
    """Also the defaults of a stage's own optimiser."""
    assert from_mapping({}) == Settings()
    settings = from_mapping({"student": {"optimizer": {"beta1": 0.5}}})
    assert settings.student.optimizer.beta1 == 0.5
    assert settings.student.optimizer.weight_decay == 1e-4
    settings = from_mapping({"reward": {"optimizer": {"beta2": 0.5}}})
    assert settings.reward.optimizer == dataclasses.replace(
        Settings().reward.optimizer, beta2=0.5
    )


def test_integers_become_floats_and_lists_tuples():
    settings = from_mapping(
        {"network": {"widths": [8, 16]}, "student": {"pessimism": 4}}
    )
    assert settings.network.widths == (8, 16)
    assert type(settings.student.pessimism) is float


@pytest.mark.parametrize(
    "name",
    ["sedd", "student.sigma_r", "teacher.optimizer.lr", "run.optimizer", "network.T"],
)
def test_unknown_key_is_named(name):
    assert_refused(name, 1)


@pytest.mark.parametrize("name", LEAVES)
def test_wrong_type_is_named(name):
    """No setting takes another type, nor a truth value for a number."""
    default = LEAVES[name]
    wrong = {bool: [1, "yes"], str: [1, True]}.get(
        type(default), ["1", True, 1.5 if type(default) is int else [1.5]]
    )
    for value in wrong if name in OPTIONAL else [*wrong, None]:
        assert_refused(name, value)


@pytest.mark.parametrize("name", ["teacher", "student.optimizer", "run"])
@pytest.mark.parametrize("value", [3, "released", None])
def test_value_in_place_of_a_section_is_named(name, value):
    assert_refused(name, value)


@pytest.mark.parametrize(
    "name", ["network.widths", "reward.widths", "inverse_dynamics.widths"]
)
def test_bad_widths_are_named(name):
    for value in ((), (8, 0), (8, -8), (8, 16.0), (8, True), 8, "8"):
        assert_refused(name, value)


# --- descriptions


@pytest.mark.parametrize("name", LEAVES)
def test_every_field_has_its_sentence_in_help(name):
    """`help` of the field's section shows it, with the choices where there are some."""
    *path, field = name.split(".")
    section = type(lookup(Settings(), ".".join(path)) if path else Settings())
    assert f"\n  {field}: " in section.__doc__


def test_help_shows_choices_and_range():
    assert "[one of dsm, one_step]" in " ".join(Student.__doc__.split())
    assert "[>= 0 and < 1]" in " ".join(Student.__doc__.split())


def test_the_page_of_settings_is_up_to_date():
    """`python -m ractd_jax.settings > docs/settings.md` writes it."""
    page = Path(__file__).parents[1] / "docs" / "settings.md"
    assert page.read_text() == as_markdown()
