"""FrankaKitchen: a robot arm that opens, moves and switches things, each paid once.

Gymnasium-robotics' FrankaKitchen, and D4RL's protocol (Fu et al. 2020; Gupta et al.
2019) with it: :mod:`ractd_jax.tasks.d4rl_kitchen`.
"""

from __future__ import annotations

import numpy as np

from ractd_jax.tasks.base import Reference, Task, d4rl_reference

_COMPLETE = ("microwave", "kettle", "light switch", "slide cabinet")
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


class D4RLKitchen(Kitchen):
    """D4RL's numbers and its four subtasks; an episode ends when all are done."""

    name = "d4rl_kitchen"
    pattern = r"ractd/Kitchen(-Goal|-Mixed-Goal)?-v0"

    def register_ids(self) -> None:
        from ractd_jax.tasks.d4rl_kitchen import register_kitchens

        register_kitchens()

    def success(self, returns: np.ndarray) -> np.ndarray:
        """[E] bool, in which episodes all four subtasks were done."""
        return returns >= 4
