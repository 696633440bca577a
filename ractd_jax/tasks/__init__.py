"""Environment families: one object each with everything that is true of it.

`task_of` finds a family by a Gymnasium id, `get_task` by the name that a trained model
carries. A family of one's own is a subclass of `Task`, made known by `register`.
"""

from __future__ import annotations

from ractd_jax.errors import ConfigError
from ractd_jax.tasks.ant_maze import AntDirection, AntMaze, D4RLAntMaze
from ractd_jax.tasks.base import (
    D4RL_RETURNS,
    BlockedFn,
    Reference,
    Task,
    d4rl_reference,
)
from ractd_jax.tasks.kitchen import D4RLKitchen, Kitchen
from ractd_jax.tasks.locomotion import Locomotion
from ractd_jax.tasks.point_maze import Maze2d, PointMaze
from ractd_jax.tasks.roundabout import Roundabout
from ractd_jax.tasks.smax import SIZES, Smax

__all__ = [
    "D4RL_RETURNS",
    "AntDirection",
    "AntMaze",
    "BlockedFn",
    "D4RLAntMaze",
    "D4RLKitchen",
    "Kitchen",
    "Locomotion",
    "Maze2d",
    "PointMaze",
    "Reference",
    "Roundabout",
    "Smax",
    "Task",
    "d4rl_reference",
    "get_task",
    "register",
    "task_of",
]

_TASKS: dict[str, Task] = {}


def register(task: Task) -> None:
    """Makes a family known to this process; one of the same name is replaced."""
    _TASKS[task.name] = task


for _task in (
    Task(),
    Locomotion(),
    Kitchen(),
    D4RLKitchen(),
    PointMaze(),
    Maze2d(),
    AntDirection(),
    AntMaze(),
    D4RLAntMaze(),
    Roundabout(),
    *map(Smax, SIZES),
):
    register(_task)


def task_of(environment_id: str) -> Task:
    """The family of a Gymnasium id, the newest first; :class:`Task` of other ids."""
    owners = [task for task in _TASKS.values() if task.owns(environment_id)]
    return owners[-1] if owners else _TASKS[""]


def get_task(name: str) -> Task:
    """The family of a name.

    Raises:
      ConfigError: it is not known to this process.
    """
    if name not in _TASKS:
        known = ", ".join(filter(None, _TASKS))
        raise ConfigError(
            f"environment family: expected one of {known}, or one that the program has "
            f"registered (ractd_jax.tasks.register), found {name!r}"
        )
    return _TASKS[name]
