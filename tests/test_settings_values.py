"""Settings' values: choices, ranges and None, refused by name."""

import json
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from ractd_jax.errors import ConfigError
from ractd_jax.settings import from_mapping, to_dict
from tests.settings_toys import (
    LEAVES,
    OPTIONAL,
    POSITIVE,
    assert_refused,
    lookup,
    nested,
)


@pytest.mark.parametrize(
    ("name", "choices"),
    {
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
        argv = [
            "main",
            f"--config={Path(__file__).parents[1]}/configs/hopper_medium.py",
        ]
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
