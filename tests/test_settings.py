"""Settings: the config files, the presets, and what is refused by name."""

import dataclasses
import importlib
import json
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from configs import base
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.methods import make_network
from ractd_jax.recording.generate import dataset_id
from ractd_jax.settings import Settings, Student, from_mapping, to_dict
from ractd_jax.settings.__main__ import as_markdown
from ractd_jax.tasks.point_maze import MAZE2D, MAZES

CONFIGS = sorted(
    path.stem
    for path in (Path(__file__).parents[1] / "configs").glob("*.py")
    if path.stem not in ("__init__", "base")
)
MAZE_CONFIGS = [f"maze2d_{maze}" for maze in MAZES]
STAGES = ("teacher", "ddpm", "bc", "reward", "student", "inverse_dynamics")
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


def leaves(section, prefix=""):
    """(dotted name, default) of every setting in `section` and below."""
    for field in dataclasses.fields(section):
        name, value = f"{prefix}{field.name}", getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


LEAVES = dict(leaves(Settings()))
OPTIONAL = {
    "environment.score_min": None,
    "environment.score_max": None,
    "dataset.max_episode_steps": 1_000,
    "diffusion.sigma_data": 0.3,
    "diffusion.sigma_floor": 0.1,
    "diffusion.init_noise_scale": 1.0,
    "reward.off_data_every": 2,
    "student.num_scales": 20,
    "student.num_members": 3,
    "student.advantage_cap": 0.0,
    "controller.gain_position": 10.0,
    "controller.gain_velocity": 1.0,
    "controller.replan_every": 50,
    **{name: 1.0 for name in LEAVES if name.endswith("max_grad_norm")},
}


def nested(name: str, value) -> dict:
    """``{"a": {"b": value}}`` of ``a.b``."""
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def lookup(settings, name: str):
    for part in name.split("."):
        settings = getattr(settings, part)
    return settings


def assert_refused(name: str, value) -> None:
    """A ConfigError whose text starts with the dotted field."""
    with pytest.raises(ConfigError) as caught:
        from_mapping(nested(name, value))
    assert str(caught.value).startswith(f"config.{name}")
    following = str(caught.value)[len(f"config.{name}")]
    assert following in ": ", "a longer name than the one to blame"


def load(config: str, preset: str):
    return importlib.import_module(f"configs.{config}").get_config(preset)


# --- the config files


def test_every_task_has_a_config():
    assert len(CONFIGS) == 13
    found = {load(config, "smoke").task for config in CONFIGS}
    assert set(REWARD_WEIGHTS) | {f"pointmaze-{maze}" for maze in MAZES} <= found


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
    if config != "any_dataset":
        assert settings.dataset.id == dataset_id(settings.task)
    dims = Dimensions(11, 3, settings.plan.horizon, settings.plan.history)
    make_network(settings.network, dims)
    of_goals = settings.reward.target != "return_to_go"
    assert (settings.plan.kind == "states") == of_goals == (config in MAZE_CONFIGS)
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


@pytest.mark.parametrize(
    ("name", "choices"),
    {
        "dataset.source": ("minari", "d4rl"),
        "plan.padding": ("repeat_last", "drop"),
        "network.conv": ("auto", "matmul", "lax"),
        "network.dtype": ("float32", "bfloat16"),
        "teacher.distance": ("squared", "pseudo_huber", "released"),
        "student.distance": ("squared", "pseudo_huber", "released"),
        "ddpm.distance": ("squared", "pseudo_huber", "released"),
        "plan.kind": ("actions", "states"),
        "plan.conditioning": ("film", "ends", "both"),
        "plan.goal": ("arrival", "last"),
        "reward.target": ("return_to_go", "goal_indicator", "goal_return"),
        "controller.kind": ("position_velocity", "pursuit", "inverse_dynamics"),
        "reward.kind": ("residual_mlp", "conv"),
        "student.dsm_form": ("denoiser", "jump"),
        "student.reward_input": ("dsm", "one_step"),
        "student.teacher_weights": ("ema", "raw"),
        "teacher.optimizer.schedule": ("cosine", "constant"),
        "reward.optimizer.schedule": ("cosine", "constant"),
        "student.optimizer.schedule": ("cosine", "constant"),
        "inverse_dynamics.optimizer.schedule": ("cosine", "constant"),
        "ddpm.optimizer.schedule": ("cosine", "constant"),
    }.items(),
)
def test_choices(name, choices):
    """Each choice is taken; another is refused with the list of them."""
    for choice in choices:
        assert lookup(from_mapping(nested(name, choice)), name) == choice
    assert_refused(name, "other")
    assert_refused(name, "")
    with pytest.raises(ConfigError, match=choices[-1]):
        from_mapping(nested(name, "other"))


POSITIVE = [
    "dataset.num_transitions",
    "plan.horizon",
    "plan.history",
    "plan.goal_size",
    "network.embed_dim",
    "network.kernel_size",
    "network.num_groups",
    "diffusion.sigma_min",
    "diffusion.sigma_max",
    "plan.execute",
    "plan.executed_weight",
    "network.mlp_width",
    "network.mlp_blocks",
    "student.num_paths",
    "student.path_batch_size",
    "student.path_steps",
    "dataset.top_fraction",
    "dataset.advantage_beta",
    "dataset.advantage_clip",
    "diffusion.rho",
    "diffusion.num_scales",
    *[f"{stage}.num_steps" for stage in STAGES],
    *[f"{stage}.batch_size" for stage in STAGES],
    "reward.num_members",
    "reward.goal_radius",
    "ddpm.num_timesteps",
    "inverse_dynamics.stride",
    "student.max_solver_steps",
    "evaluation.num_episodes",
    "evaluation.teacher_steps",
    "evaluation.student_steps",
    "evaluation.num_candidates",
    "run.steps_per_call",
    "run.log_every",
    "run.checkpoint_every",
    "run.keep_checkpoints",
]


@pytest.mark.parametrize("name", POSITIVE)
def test_number_must_be_positive(name):
    """0, negative numbers and, where a float is meant, nan."""
    assert_refused(name, 0)
    assert_refused(name, -1)
    if isinstance(LEAVES[name], float):
        assert_refused(name, float("nan"))
        assert_refused(name, -0.5)


def test_the_noise_levels_must_span_something():
    for levels in ({"sigma_max": 0.02}, {"sigma_min": 80.0}, {"sigma_min": 100.0}):
        with pytest.raises(ConfigError, match=r"config\.diffusion\.sigma_max"):
            from_mapping({"diffusion": levels})


def test_zero_is_a_number():
    for name in (
        "student.reward_weight",
        "student.advantage_cap",
        "teacher.optimizer.warmup_steps",
        "controller.gain_position",
        "controller.gain_velocity",
        "seed",
    ):
        assert lookup(from_mapping(nested(name, 0)), name) == 0


@pytest.mark.parametrize("name", OPTIONAL)
def test_none_says_off_default_all_or_never(name):
    """Through JSON, too, and on either side of a value; other fields refuse it."""
    for value in (OPTIONAL[name], None):
        settings = from_mapping(nested(name, value))
        assert lookup(settings, name) == value
        assert from_mapping(json.loads(json.dumps(to_dict(settings)))) == settings
    assert_refused(name, "none")
    with pytest.raises(ConfigError, match="or None, found str"):
        from_mapping(nested(name, "none"))


def test_flags_give_none_or_a_value():
    for text, expected in (("None", None), ("0.5", 0.5), ("0", 0.0)):
        values = flags.FlagValues()
        argv = ["main", f"--config={Path(base.__file__).parent}/hopper_medium.py"]
        argv += [f"--config.student.advantage_cap={text}"]
        argv += [f"--config.diffusion.sigma_data={text}"] if text == "0.5" else []
        config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
        values(argv)
        found = from_mapping(values.config.to_dict())
        assert found.student.advantage_cap == expected


def test_none_is_refused_where_it_means_nothing():
    for name in ("student.reward_weight", "plan.horizon", "dataset.id"):
        assert_refused(name, None)


def test_reference_returns_come_in_pairs():
    for pair in ({"score_max": 1.0}, {"score_min": 1.0, "score_max": 1.0}):
        with pytest.raises(ConfigError, match=r"environment\.score_max"):
            from_mapping({"environment": pair})


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
