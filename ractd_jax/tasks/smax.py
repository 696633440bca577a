"""SMAX: teams of units of three kinds, one of which a planner leads.

JaxMARL's battle (Rutherford et al. 2024), the stand-in in JAX for SMACv2 (Ellis et al.
2023), not SMACv2 itself. An observation has rows for the other allies and the enemies
(health, place, last move and target, cooldown and kind; zeros where not seen) and one
for the own unit. The environments are in :mod:`ractd_jax.tasks.smax_env`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ractd_jax.settings import Environment
from ractd_jax.tasks.base import Task

if TYPE_CHECKING:
    import gymnasium

KINDS = ("stalker", "zealot", "hydralisk")
# Of a unit that is drawn, as SMACv2 draws its three.
KIND_PROBABILITIES = (0.45, 0.45, 0.1)
# How the kinds of a team are drawn: all alike, each by itself, or so that not all are
# alike. The enemies are the same as the allies.
TEAMS = ("one_kind", "any_kinds", "mixed")
# The teams that teammates learned in.
LEARNED = ("one_kind", "any_kinds")
SIZES = (2, 3, 5)
WIN = "win"
# What the rows of other units and of the own one show before the kind.
_OTHER, _OWN = 7, 4
NUM_MOVES = 5  # four directions, and to stop; then an attack on each enemy


def environment_id(size: int, learned: str, teams: str) -> str:
    """Such as ``ractd/SMAX-3v3-OneKind-Mixed-v0``.

    Args:
      size: units of each side.
      learned: teams that the teammates learned in, one of :data:`LEARNED`.
      teams: that fight, one of :data:`TEAMS`.
    """
    names = (each.title().replace("_", "") for each in (learned, teams))
    return f"ractd/SMAX-{size}v{size}-{'-'.join(names)}-v0"


class Smax(Task):
    """One unit of a team; the others follow a policy that learned by MAPPO."""

    def __init__(self, size: int):
        self.size = size
        self.name = f"smax-{size}v{size}"
        self.pattern = rf"ractd/SMAX-{size}v{size}-\w+-\w+-v0"
        self.num_elements = 2 * size
        self.num_kinds = 1 + len(KINDS)
        self.num_actions = NUM_MOVES + size
        wide = _OTHER + len(KINDS)
        own, others = (2 * size - 1) * wide + _OWN, np.arange(2 * size - 1) * wide
        rows = np.array([own, *(others + _OTHER)])
        self._kind_columns = rows[:, None] + np.arange(len(KINDS))

    def register_ids(self) -> None:
        from ractd_jax.tasks.smax_env import register_battles

        register_battles()

    def make(self, environment: Environment) -> gymnasium.Env:
        from ractd_jax.tasks.discrete import OneHotActions

        return OneHotActions(super().make(environment))

    def encode_actions(self, actions: np.ndarray) -> np.ndarray:
        from ractd_jax.tasks.discrete import one_hot

        return one_hot(actions, self.num_actions)

    def elements(self, states):
        """[..., 2 n] kinds of the own unit, the other allies and the enemies.

        0 where none is seen, else 1 + the index in :data:`KINDS`.
        """
        bits = states[..., self._kind_columns] > 0.5
        kinds = np.arange(1.0, 1.0 + len(KINDS), dtype=np.float32)
        return (bits * kinds).sum(axis=-1)

    def events(self, environment: Environment) -> tuple[str, ...]:
        return (WIN,)

    def happened(self, info: Mapping[str, Any]) -> Collection[str]:
        return (WIN,) if info.get("won") else ()
