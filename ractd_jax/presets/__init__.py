"""Presets by name: what the files of ``configs/`` hold, where there is no checkout."""

from __future__ import annotations

from ml_collections import ConfigDict

from ractd_jax.errors import ConfigError
from ractd_jax.presets import ant_mazes, base, kitchen, mazes

_LOCOMOTION = tuple(
    f"{environment}-{kind}"
    for environment in ("hopper", "walker2d", "halfcheetah")
    for kind in ("medium", "medium-replay", "medium-expert")
)
_ANY = "any_dataset"
NAMES = (
    *(task.replace("-", "_") for task in _LOCOMOTION),
    *(f"maze2d_{maze}" for maze in mazes.MAZES),
    *(f"kitchen_{kind}" for kind in kitchen.KINDS),
    *(f"antmaze_{kind.replace('-', '_')}" for kind in ant_mazes.KINDS),
    _ANY,
)


def get_config(name: str) -> ConfigDict:
    """The locked config of ``NAME:PRESET``, such as ``hopper_medium_expert:smoke``.

    Args:
      name: one of :data:`NAMES`, and after a colon a preset; ``cpu`` without.

    Raises:
      ConfigError: an unknown name.
      ValueError: an unknown preset.
    """
    task, _, preset = name.partition(":")
    if task not in NAMES:
        raise ConfigError(
            f"--preset: expected one of {', '.join(NAMES)} and, after a colon, a "
            f"preset such as cpu or smoke, found {name!r}"
        )
    if task == _ANY:
        return base.get_any(preset)
    if task.startswith("maze2d_"):
        return mazes.get_maze2d(task.removeprefix("maze2d_"), preset)
    if task.startswith("kitchen_"):
        return kitchen.get_kitchen(task.removeprefix("kitchen_"), preset)
    if task.startswith("antmaze_"):
        kind = task.removeprefix("antmaze_").replace("_", "-")
        return ant_mazes.get_ant_maze(kind, preset)
    return base.get_locomotion(task.replace("_", "-"), preset)


def of_task(task: str, preset: str) -> ConfigDict:
    """The locked config of a task, such as ``hopper-medium-expert``."""
    return get_config(f"{task.replace('-', '_')}:{preset}")
