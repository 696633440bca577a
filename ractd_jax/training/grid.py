"""Which trainings a grid has: its values and seeds, from a flag to settings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ractd_jax.errors import ConfigError
from ractd_jax.losses import StudentCoefficients
from ractd_jax.settings import Settings, from_mapping

# What a compiled program takes as values, by stage; the seed besides.
SWEEPABLE = {
    "teacher": ("learning_rate",),
    "reward": ("learning_rate",),
    "student": ("learning_rate", *StudentCoefficients._fields),
}
# Those that may be "none", and what stands for it in a program that has the others.
NONE = {"advantage_cap": np.inf}


class Member(NamedTuple):
    """One training of a grid.

    Attributes:
      name: such as ``reward_weight=0.3,seed=2``.
      seed: seed of its initial parameters and of every draw.
      values: setting of the stage -> value.
    """

    name: str
    seed: int
    values: Mapping[str, float | None]


class Grid(NamedTuple):
    """Every seed with every set of values.

    Attributes:
      seeds: [S].
      values: [V] setting of the stage -> value.
    """

    seeds: Sequence[int]
    values: Sequence[Mapping[str, float | None]]

    @property
    def members(self) -> list[Member]:
        """[S V], all values of the first seed first."""
        return [
            Member(
                ",".join(
                    [f"{name}={_text(value)}" for name, value in values.items()]
                    + [f"seed={seed}"]
                ),
                seed,
                values,
            )
            for seed in self.seeds
            for values in self.values
        ]


def _text(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _number(name: str, text: str) -> float | None:
    """A number, or None for "none" where that is a value; else raises ValueError."""
    return None if text == "none" and name in NONE else float(text)


def make_grid(sweep: str, num_seeds: int, stage: str) -> Grid:
    """The grid of ``"reward_weight=0,0.3;learning_rate=1e-3"`` and seeds 0, 1, ....

    ``advantage_cap`` may also be ``none``.

    Raises:
      ConfigError: a value that is not a number, is out of range, or is given twice, or
        a setting that cannot be swept.
    """
    axes: dict[str, list[float | None]] = {}
    for part in filter(None, sweep.replace(" ", "").split(";")):
        name, _, listed = part.partition("=")
        if name not in SWEEPABLE[stage] or name in axes:
            raise ConfigError(
                f"--sweep: expected each of {', '.join(SWEEPABLE[stage])} at most once "
                f"for a {stage}, found {name!r}"
            )
        try:
            axes[name] = [_number(name, value) for value in listed.split(",")]
        except ValueError:
            raise ConfigError(
                f"--sweep: expected numbers with commas after {name}=, found {listed!r}"
            ) from None
        if len(set(axes[name])) < len(axes[name]):
            raise ConfigError(f"--sweep: {name} has a value twice: {listed}")
    values = [
        dict(zip(axes, chosen, strict=True))
        for chosen in itertools.product(*axes.values())
    ]
    grid = Grid(range(num_seeds), values)
    for member in grid.members:
        from_mapping(member_settings(stage, member))  # What a config would refuse.
    return grid


def member_settings(stage: str, member: Member) -> dict:
    """The settings that train this member alone, as a nested mapping."""
    section: dict[str, Any] = dict(member.values)
    if "learning_rate" in section:
        section["optimizer"] = {"learning_rate": section.pop("learning_rate")}
    return {"seed": member.seed, stage: section}


def shared_settings(stage: str, grid: Grid, settings: Settings) -> Settings:
    """`settings` for the shared stage of a grid, with every term that a member has."""
    if stage != "student":
        return settings
    largest = {}
    for name in ("reward_weight", "path_weight"):
        default = getattr(settings.student, name)
        largest[name] = max(values.get(name, default) for values in grid.values)
    return from_mapping({"student": largest}, settings)
