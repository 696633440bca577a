"""A roundabout with cars, bicycles or both: highway-env's, with kinds in sight.

An observation is five rows of presence, x, y, vx, vy and whether the vehicle is a
bicycle, flat, the own car's first; units are highway-env's, 100 m and 15 m/s. The five
actions (left, idle, right, faster, slower) are one-hot vectors of -1 and 1. The
environments are in :mod:`ractd_jax.tasks.roundabout_env`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ractd_jax.settings import Environment
from ractd_jax.tasks.base import Task

if TYPE_CHECKING:
    import gymnasium

# Who drives around: all of one kind, one kind or the other, or both together.
TRAFFIC = ("cars", "bicycles", "one_kind", "mixed")
IDS = {
    traffic: f"ractd/Roundabout-{traffic.title().replace('_', '')}-v0"
    for traffic in TRAFFIC
}
NUM_VEHICLES, NUM_FEATURES = 5, 6
NUM_ACTIONS = 5
ABSENT, CAR, BICYCLE = range(3)
CRASH = "crash"


class Roundabout(Task):
    """The own car turns left through the traffic; a crash ends the episode."""

    name = "roundabout"
    pattern = r"ractd/Roundabout-\w+-v0"
    num_elements = NUM_VEHICLES
    num_kinds = 3

    def register_ids(self) -> None:
        from ractd_jax.tasks.roundabout_env import register_roundabouts

        register_roundabouts()

    def make(self, environment: Environment) -> gymnasium.Env:
        from ractd_jax.tasks.discrete import OneHotActions

        return OneHotActions(super().make(environment))

    def encode_actions(self, actions: np.ndarray) -> np.ndarray:
        from ractd_jax.tasks.discrete import one_hot

        return one_hot(actions, NUM_ACTIONS)

    def elements(self, states):
        """[..., 5] whether each row is empty, a car's or a bicycle's."""
        rows = states.reshape(*states.shape[:-1], NUM_VEHICLES, NUM_FEATURES)
        present, bicycle = rows[..., 0] > 0.5, rows[..., -1] > 0.5
        return (present * (CAR + bicycle * (BICYCLE - CAR))).astype(np.float32)

    def events(self, environment: Environment) -> tuple[str, ...]:
        return (CRASH,)

    def happened(self, info: Mapping[str, Any]) -> Collection[str]:
        return (CRASH,) if info.get("crashed") else ()
