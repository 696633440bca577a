"""Presets of the experiments on unseen combinations."""

from __future__ import annotations

from ml_collections import ConfigDict

from ractd_jax.presets import base, mazes
from ractd_jax.tasks.roundabout import IDS
from ractd_jax.tasks.smax import environment_id

# With a way round: in umaze there is one path.
MAZES = ("medium", "large")
_HELD_OUT = 4
# Of the figures of mazes in Duan (2025), chapter 2.
_GUIDANCE_WEIGHT = 1.3
# Of the attention to waypoints; of cpu one with which attention has as many parameters
# as concatenation, within 1%.
_HEAD_SIZES = {"cpu": 16, "smoke": 8}


def get_waypoint_maze(maze: str, preset: str) -> ConfigDict:
    """The locked config of plans through three waypoints of a maze.

    Args:
      maze: one of :data:`MAZES`.
      preset: ``cpu`` or ``smoke``, see :mod:`ractd_jax.presets.base`.

    Raises:
      ValueError: another preset.
    """
    preset = preset or "cpu"
    if preset not in _HEAD_SIZES:
        raise ValueError(f"preset must be one of {[*_HEAD_SIZES]}, not {preset!r}")
    config = mazes.get_maze2d(maze, preset).unlock()
    config.dataset.held_out_combinations = _HELD_OUT
    # Where the data's goal changes a way goes on, so that start and goal do not say
    # which way was taken, and waypoints do.
    config.plan.split_at_goals = False
    config.plan.elements = "waypoints"
    config.network.elements = "attention"
    config.network.element_head_size = _HEAD_SIZES[preset]
    config.student.guidance_weight = _GUIDANCE_WEIGHT
    config.student.reward_weight = 0.0
    return config.lock()


# Joint plans, conditioned on the kinds that are seen, of policies that are imitated.
_JOINT = {
    "dataset": {"weighting": "uniform", "observation_normalizer": "minmax"},
    "plan": {"kind": "joint", "conditioning": "ends", "elements": "observed"},
    "network": {"kind": "unet"},
    "student": {"reward_weight": 0.0},
    "evaluation": {"temperature": 1.0},
}
_JOINT_SMOKE = {
    "network": {"widths": (8, 16), "element_embed_dim": 4, "element_head_size": 4}
}
# Duan (2025), table A.4, at a width for two cores: plans of 8 steps, the first action
# ten times as important, DDPM with 80 steps.
_ROUNDABOUT = {
    "task": "roundabout-one_kind",
    "dataset": {"id": "ractd/roundabout/one_kind-v0"},
    "plan": {"horizon": 8, "executed_weight": 10.0},
    "network": {"element_embed_dim": 20, "element_head_size": 15},
}
_ROUNDABOUT_CPU = {
    "teacher": {"num_steps": 10_000, "batch_size": 64},
    "ddpm": {"num_timesteps": 80, "num_steps": 10_000, "batch_size": 64},
}
# Duan (2025), tables A.8 and A.9, at half the horizon and a width for two cores.
_SMAX = {
    # A state of 57 numbers enters through FiLM, too: docs/notes/smax.md has what was
    # tried, on a development seed.
    "plan": {"horizon": 16, "executed_weight": 300.0, "conditioning": "both"},
    "evaluation": {"temperature": 0.1},
    "network": {"element_embed_dim": 40},
    # Of the team's training: a win, which pays most, comes after 40 steps.
    "cql": {"discount": 0.99},
}
_SMAX_CPU = {
    # With which attention has as many parameters as concatenation, within 1%.
    "network": {"widths": (32, 64), "element_head_size": 30},
    # Fewer than for plans of an MLP, as the points of a U-Net's paths cost more.
    "student": {"num_steps": 4_000, "path_batch_size": 64, "num_paths": 8_000},
    "teacher": {"num_steps": 10_000, "batch_size": 64},
    "ddpm": {"num_timesteps": 256, "num_steps": 10_000, "batch_size": 64},
}


def get_roundabout(preset: str) -> ConfigDict:
    """The locked config of joint plans on the roundabout of one kind.

    Args:
      preset: ``cpu`` or ``smoke``, see :mod:`ractd_jax.presets.base`.

    Raises:
      ValueError: another preset.
    """
    config = _joint(preset, _ROUNDABOUT, _ROUNDABOUT_CPU)
    config.environment.id = IDS["one_kind"]
    return config.lock()


def get_smax(size: int, learned: str, preset: str) -> ConfigDict:
    """The locked config of joint plans of one unit of a team.

    Args:
      size: units of each side, one of :data:`ractd_jax.tasks.smax.SIZES`.
      learned: teams of the data, one of :data:`ractd_jax.tasks.smax.LEARNED`.
      preset: ``cpu`` or ``smoke``, see :mod:`ractd_jax.presets.base`.

    Raises:
      ValueError: another preset.
    """
    config = _joint(preset, _SMAX, _SMAX_CPU)
    config.task = f"smax-{size}v{size}-{learned}"
    config.dataset.id = f"ractd/smax/{size}v{size}-{learned}-v0"
    config.environment.id = environment_id(size, learned, learned)
    return config.lock()


def _joint(preset: str, changes: dict, on_cpu: dict) -> ConfigDict:
    """Unlocked, of joint plans with `changes`, and with those of preset ``cpu``."""
    preset = preset or "cpu"
    if preset not in ("cpu", "smoke"):
        raise ValueError(f"preset must be one of ['cpu', 'smoke'], not {preset!r}")
    config = base.get_preset(preset)
    for each in (_JOINT, changes, on_cpu if preset == "cpu" else _JOINT_SMOKE):
        config.update(each)
    return config
