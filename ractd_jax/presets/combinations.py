"""Presets of plans through waypoints, to start-goal pairs that were never seen."""

from __future__ import annotations

from ml_collections import ConfigDict

from ractd_jax.presets import mazes

# With a way round: in umaze there is one path.
MAZES = ("medium", "large")
_HELD_OUT = 4
# Of the thesis's figures (docs/combinations.md).
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
