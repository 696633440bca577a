"""Presets of the kitchen: plans of actions, and plans of states."""

from __future__ import annotations

from ml_collections import ConfigDict

from ractd_jax.presets import base

KINDS = ("complete", "partial", "mixed", "d4rl")
# The robot's velocities are not observed, so that two observations say where it goes.
_PLAN = {"horizon": 16, "execute": 8, "history": 2}
# Of every fourth state, followed by inverse dynamics; the best of several is chosen by
# the return of a whole plan (Lu et al. 2025 plan so).
_STATES = {
    "plan": {
        "kind": "states",
        "goal_size": 0,
        "relative": True,
        "horizon": 8,
        "stride": 4,
        "history": 1,
        "execute": 1,
    },
    "reward": {"target": "plan_return"},
    "inverse_dynamics": {"stride": 4, "widths": (256, 256)},
    "controller": {"kind": "inverse_dynamics", "replan_every": 4},
}
_SMOKE_STATES = {**_STATES, "inverse_dynamics": {"stride": 4, "widths": (16,)}}
_CHANGES = {
    # A plan of 144 numbers needs a wider network than one of locomotion's, and all
    # windows of the best episodes: docs/notes/kitchen.md.
    "cpu": {
        "plan": _PLAN,
        "dataset": {"num_transitions": 60_000, "weighting": "top"},
        "network": {"mlp_width": 512},
        "teacher": {"num_steps": 16_000},
    },
    "smoke": {"plan": _PLAN, "dataset": {"num_transitions": 500}},
    "paper": {"plan": _PLAN},
    "released": {"plan": _PLAN},
}
_OF_STATES = {"states": ("cpu", _STATES), "smoke_states": ("smoke", _SMOKE_STATES)}


def get_kitchen(kind: str, preset: str) -> ConfigDict:
    """The locked config of a kitchen task.

    ``complete``, ``partial`` and ``mixed`` are recorded here, from the demonstrations
    that ``config.dataset.demonstrations`` names; ``d4rl`` is D4RL's own file, which
    ``config.dataset.path`` names.

    Args:
      kind: one of :data:`KINDS`.
      preset: see :mod:`ractd_jax.presets.base`; ``states`` and ``smoke_states`` are
        ``cpu`` and ``smoke`` for plans of states.
    """
    preset, changes = preset or "cpu", {}
    if preset in _OF_STATES:
        preset, changes = _OF_STATES[preset]
    if preset not in _CHANGES:
        known = sorted([*_CHANGES, *_OF_STATES])
        raise ValueError(f"preset must be one of {known}, not {preset!r}")
    config = base.get_preset(preset)
    config.update(_CHANGES[preset])
    config.update(changes)
    config.task = f"kitchen-{kind}"
    config.reward.discount = 0.99
    # An episode ends when everything is done.
    config.reward.termination_penalty = 0.0
    if kind == "d4rl":
        config.dataset.source = "d4rl"
    else:
        config.dataset.id = f"ractd/kitchen/{kind}-v0"
    if kind in ("complete", "d4rl"):
        # Every demonstration does all subtasks: there is nothing to choose.
        config.dataset.weighting = "uniform"
    return config.lock()
