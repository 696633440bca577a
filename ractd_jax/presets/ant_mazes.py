"""Presets of the ant mazes, whose plans are states without a goal."""

from __future__ import annotations

from ml_collections import ConfigDict

from ractd_jax.presets import base
from ractd_jax.tasks.ant_maze import RECORDED

KINDS = RECORDED
# Lu et al. (2025) plan 40 states, 25 steps apart; 16 of them reach as far as an ant
# walks in 40 s. The best is chosen by the return of the whole plan.
_PLAN = {
    "kind": "states",
    "goal_size": 0,
    "relative": True,
    "horizon": 16,
    "stride": 25,
}
_LARGE = {"plan": _PLAN, "inverse_dynamics": {"stride": 25, "places": False}}
_CHANGES = {
    "cpu": {
        "dataset": {"num_transitions": 1_000_000},
        "plan": _PLAN,
        "network": {"mlp_width": 512},
        "inverse_dynamics": {
            "stride": 25,
            "widths": (256, 256),
            "places": False,
            "num_steps": 20_000,
        },
        "reward": {"num_steps": 6_000},
    },
    "smoke": {
        "dataset": {"num_transitions": 1_000},
        "plan": {**_PLAN, "horizon": 4},
        "inverse_dynamics": {"stride": 25, "places": False},
    },
    "paper": _LARGE,
    "released": _LARGE,
}
# The clone of the actions, the baseline.
_ACTIONS = {
    "plan": {
        "kind": "actions",
        "goal_size": 2,
        "relative": False,
        "horizon": 1,
        "stride": 1,
    },
    "reward": {"target": "return_to_go"},
}


def get_ant_maze(kind: str, preset: str) -> ConfigDict:
    """The locked config of an ant maze, on data that is recorded here.

    Args:
      kind: one of :data:`KINDS`.
      preset: see :mod:`ractd_jax.presets.base`; ``actions`` is ``cpu`` with plans of
        actions.
    """
    preset = preset or "cpu"
    own = "cpu" if preset == "actions" else preset
    if own not in _CHANGES:
        known = sorted([*_CHANGES, "actions"])
        raise ValueError(f"preset must be one of {known}, not {preset!r}")
    config = base.get_preset(own)
    config.reward.target = "plan_return"
    config.controller.kind = "inverse_dynamics"
    config.controller.replan_every = 10
    # Seldom paid: every episode that arrives is worth learning from.
    config.dataset.weighting = "top" if own == "cpu" else "uniform"
    # An arrival ends the episode, and is no fault.
    config.reward.termination_penalty = 0.0
    config.reward.discount = 0.997
    config.update(_CHANGES[own])
    if preset == "actions":
        config.update(_ACTIONS)
    config.task = f"antmaze-{kind}"
    config.dataset.id = f"ractd/antmaze/{kind}-v0"
    return config.lock()
