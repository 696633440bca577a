"""Every field of the settings by its dotted name."""

import dataclasses

import pytest

from ractd_jax.errors import ConfigError
from ractd_jax.settings import Settings, from_mapping

STAGES = ("teacher", "ddpm", "bc", "reward", "student", "inverse_dynamics")


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
    "environment.max_episode_steps": 200,
    "dataset.max_episode_steps": 1_000,
    "diffusion.sigma_data": 0.3,
    "diffusion.sigma_floor": 0.1,
    "student.reward_gradient_clip": 1.0,
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


POSITIVE = [
    "dataset.num_transitions",
    "plan.horizon",
    "plan.history",
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
