"""What the benchmark's tables compare."""

from __future__ import annotations

from collections.abc import Mapping

from ractd_jax.pipelines import trainings
from ractd_jax.pipelines.entries import Entry
from ractd_jax.pipelines.trainings import REWARD_WEIGHTS

# Every trained planner at the config's temperature, and as it was learned.
_METHODS: Mapping[str, Entry] = {
    "BC": Entry("bc"),
    "top-30% BC": Entry("bc_top"),
    "teacher": Entry("teacher"),
    "teacher, temperature 1": Entry("teacher", 1.0),
    "CTD": Entry("ctd"),
    "CTD, temperature 1": Entry("ctd", 1.0),
    "RACTD": Entry("ractd"),
    "RACTD, temperature 1": Entry("ractd", 1.0),
}
# Samplers of the same data, as in Duan (2025), tables 3.3 and 3.5 (students of 1 to 4
# steps).
_SAMPLERS: Mapping[str, Entry] = {
    "DDPM": Entry("ddpm"),
    "DDIM, 10 steps": Entry("ddpm", num_steps=10),
    "EDM, 79 steps": Entry("teacher", num_steps=79),
    "EDM, 10 steps": Entry("teacher", num_steps=10),
    **{
        f"{label}, {steps} step{'s' * (steps > 1)}": Entry(name, num_steps=steps)
        for label, name in (("CTD", "ctd"), ("RACTD", "ractd"))
        for steps in (1, 2, 3, 4)
    },
}
# What the reward term's weight does, as in Duan (2025), figure 3.4.
_WEIGHTS: Mapping[str, Entry] = {
    "RACTD, weight 0": Entry("ctd"),
    **{f"RACTD, weight {w:g}": Entry(f"ractd_weight_{w:g}") for w in REWARD_WEIGHTS},
}
# How far the reward term's weight may be off: as the presets use it, over a range of
# four.
_WEIGHT_RANGE: Mapping[str, Entry] = {
    "RACTD, weight times 0": Entry("ctd"),
    "RACTD, weight times 0.5": Entry("ractd_times_0.5"),
    "RACTD, weight times 1": Entry("ractd"),
    "RACTD, weight times 2": Entry("ractd_times_2"),
}
_TEMPERATURES: Mapping[str, Entry] = {
    f"{label}, temperature {temperature:g}": Entry(name, temperature)
    for label, name in (("teacher", "teacher"), ("CTD", "ctd"), ("RACTD", "ractd"))
    for temperature in (0.0, 0.1, 0.3, 0.6, 1.0)
}
# How fine the teacher's solver has to be before it samples what the teacher learned.
_SOLVER: Mapping[str, Entry] = {
    f"teacher, temperature 1, steps {steps}": Entry("teacher", 1.0, steps)
    for steps in (10, 20, 40)
}
# All windows, and what makes a planner keep to one of their modes.
_COMMITMENT: Mapping[str, Entry] = {
    "CTD, all windows": Entry("ctd_uniform"),
    "one noise an episode": Entry("ctd_uniform", noise="each_episode"),
    "history of 4": Entry("ctd_history"),
    "condition on the return": Entry("ctd_rank"),
    "chosen windows": Entry("ctd"),
}
_REWARD_LABELS = {"rtg": "return-to-go", "sarsa": "SARSA", "iql": "IQL"}
_BEST_OF = 16
# Less noise would leave nothing to choose from, more leads away from the mode.
_CHOICE = 0.3


def _best_of(training: str, reward: str) -> Entry:
    """The best of a planner's candidates by a reward of ``trainings.REWARDS``."""
    model = trainings.REWARDS[reward]
    return Entry(training, _CHOICE, num_candidates=_BEST_OF, reward=model)


# Rewards by what they are used for. Windows weighted by the return-to-go are the
# default, which the other uses start from.
_REWARDS: Mapping[str, Entry] = {
    "no reward": Entry("ctd_uniform"),
    "weights, return-to-go": Entry("ctd"),
    "weights, SARSA": Entry("ctd_sarsa"),
    "weights, IQL": Entry("ctd_iql"),
    **{
        f"{use}, {label}": Entry(f"{use}_{name}")
        for use in ("gradient", "steering", "distilled")
        for name, label in _REWARD_LABELS.items()
    },
    **{
        f"best of {_BEST_OF}, {label}": _best_of("ctd", name)
        for name, label in _REWARD_LABELS.items()
    },
}
# The reward term on one-step samples and on the DSM branch.
_GRADIENTS: Mapping[str, Entry] = {
    "CTD": Entry("ctd"),
    **{
        f"{where}, {label}": Entry(f"{use}_{name}")
        for use, where in (("gradient", "one step"), ("gradient_dsm", "DSM branch"))
        for name, label in _REWARD_LABELS.items()
    },
}
# What needs no planner, beside the planners.
_BASELINES: Mapping[str, Entry] = {
    "IQL": Entry("iql"),
    "TD3+BC": Entry("td3_bc"),
    "CTD": Entry("ctd"),
    "RACTD": Entry("ractd"),
    **{
        f"{planner}, best of {_BEST_OF}, {_REWARD_LABELS[name]}": _best_of(
            planner.lower(), name
        )
        for planner in ("CTD", "RACTD")
        for name in ("rtg", "iql")
    },
}
# Long tasks: plans of actions, and of states; the best of candidates by the reward
# models that RACTD has.
_CANDIDATES = (16, 64)


def _planners(prefix: str = "") -> dict[str, Entry]:
    """The teacher and its students, with one plan and the best of several."""
    return {
        f"{prefix}teacher": Entry("teacher"),
        f"{prefix}CTD": Entry("ctd"),
        f"{prefix}RACTD": Entry("ractd"),
        **{
            f"{prefix}{label}, best of {count}": Entry(
                label.lower(), _CHOICE, num_candidates=count, reward="reward"
            )
            for label in ("CTD", "RACTD")
            for count in _CANDIDATES
        },
    }


_LONG: Mapping[str, Entry] = {
    "BC": Entry("bc"),
    "top-30% BC": Entry("bc_top"),
    **_planners(),
}
_STATES = _planners("states, ")
TABLES = {
    "methods": _METHODS,
    "samplers": _SAMPLERS,
    "weights": _WEIGHTS,
    "weight_range": _WEIGHT_RANGE,
    "temperatures": _TEMPERATURES,
    "solver": _SOLVER,
    "commitment": _COMMITMENT,
    "rewards": _REWARDS,
    "gradients": _GRADIENTS,
    "baselines": _BASELINES,
    "long": _LONG,
    "states": _STATES,
}
# table: the kind of plans that its preset has to have.
KINDS = {"long": "actions", "states": "states"}
# table: the value that its labels end in, which is drawn.
SWEPT = {
    "weights": "weight",
    "weight_range": "weight times",
    "temperatures": "temperature",
    "solver": "steps",
}
# Tables whose scores are drawn against the time of a plan.
TIMED = ("samplers",)
