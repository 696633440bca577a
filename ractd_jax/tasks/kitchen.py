"""FrankaKitchen: a robot arm that opens, moves and switches things, each paid once.

Gymnasium-robotics' FrankaKitchen, and D4RL's protocol (Fu et al. 2020; Gupta et al.
2019) with it: :mod:`ractd_jax.tasks.d4rl_kitchen`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ractd_jax.settings import Environment
from ractd_jax.tasks.base import Reference, Task, d4rl_reference

_COMPLETE = ("microwave", "kettle", "light switch", "slide cabinet")
# Everything that FrankaKitchen can ask for, and asks for by itself.
_ALL = (
    *("bottom burner", "top burner", "light switch", "slide cabinet"),
    *("hinge cabinet", "microwave", "kettle"),
)
_MIXED = ("microwave", "kettle", "bottom burner", "light switch")
# Gymnasium id: its subtasks, and whether the constant goal is shown, as in D4RL's files
# (kitchen-complete and kitchen-partial; kitchen-mixed).
KITCHENS = {
    "ractd/Kitchen-v0": (_COMPLETE, False),
    "ractd/Kitchen-Goal-v0": (_COMPLETE, True),
    "ractd/Kitchen-Mixed-Goal-v0": (_MIXED, True),
}


class Kitchen(Task):
    """FrankaKitchen as it is registered: a Dict, and the subtasks that it is given."""

    name = "kitchen"
    pattern = r"FrankaKitchen-v\d+"

    def reference(self, environment_id: str) -> Reference:
        return d4rl_reference("kitchen")

    def events(self, environment: Environment) -> tuple[str, ...]:
        """The subtasks that the environment asks for."""
        spec = json.loads(environment.spec) if environment.spec else {}
        return tuple(spec.get("kwargs", {}).get("tasks_to_complete", _ALL))

    def happened(self, info: Mapping[str, Any]) -> Collection[str]:
        return info.get("episode_task_completions", ())


class D4RLKitchen(Kitchen):
    """D4RL's numbers and its four subtasks; an episode ends when all are done."""

    name = "d4rl_kitchen"
    pattern = r"ractd/Kitchen(-Goal|-Mixed-Goal)?-v0"

    def register_ids(self) -> None:
        from ractd_jax.tasks.d4rl_kitchen import register_kitchens

        register_kitchens()

    def events(self, environment: Environment) -> tuple[str, ...]:
        return KITCHENS[environment.id][0]

    def success(self, returns: np.ndarray) -> np.ndarray:
        """[E] bool, in which episodes all four subtasks were done."""
        return returns >= 4
