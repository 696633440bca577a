"""Presets of the kitchen, whose plans are actions."""

from __future__ import annotations

from ml_collections import ConfigDict

from ractd_jax.presets import base

KINDS = ("complete", "partial", "mixed", "d4rl")
# The robot's velocities are not observed, so that two observations say where it goes.
_PLAN = {"horizon": 16, "execute": 8, "history": 2}
_CHANGES = {
    "cpu": {"plan": _PLAN, "dataset": {"num_transitions": 60_000}},
    "smoke": {"plan": _PLAN, "dataset": {"num_transitions": 500}},
    "paper": {"plan": _PLAN},
    "released": {"plan": _PLAN},
}


def get_kitchen(kind: str, preset: str) -> ConfigDict:
    """The locked config of a kitchen task.

    ``complete``, ``partial`` and ``mixed`` are recorded here, from the demonstrations
    that ``config.dataset.demonstrations`` names; ``d4rl`` is D4RL's own file, which
    ``config.dataset.path`` names.

    Args:
      kind: one of :data:`KINDS`.
      preset: see :mod:`ractd_jax.presets.base`.
    """
    config = base.get_preset(preset)
    preset = preset or "cpu"
    config.update(_CHANGES[preset])
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
