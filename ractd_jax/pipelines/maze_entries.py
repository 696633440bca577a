"""What is evaluated on a maze: samplers, and what is added to one plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from ractd_jax.settings import Controller, Settings


class MazeEntry(NamedTuple):
    """One evaluation.

    Attributes:
      label: its row.
      model: folder of the trained model.
      steps: of its sampler; 0 for the default.
      candidates: N, plans to choose from.
      controller: what follows the plans, and how often they are made anew.
    """

    label: str
    model: str
    steps: int = 0
    candidates: int = 1
    controller: Controller = Controller()

    def to_dict(self) -> dict:
        """As it stands beside its results, in the form that JSON gives back."""
        return {**self._asdict(), "controller": dataclasses.asdict(self.controller)}


def samplers(settings: Settings) -> list[MazeEntry]:
    """The rows of table B.6: one open-loop plan each."""
    steps = settings.diffusion.num_scales - 1
    timesteps = settings.ddpm.num_timesteps
    few = min(10, timesteps - 1)
    follow = settings.controller
    return [
        MazeEntry(f"DDPM, {timesteps} steps", "ddpm", timesteps, controller=follow),
        MazeEntry(f"DDIM, {few} steps", "ddpm", few, controller=follow),
        MazeEntry("DDIM, 1 step", "ddpm", 1, controller=follow),
        MazeEntry(
            f"EDM teacher, {steps} Heun steps", "teacher", steps, controller=follow
        ),
        MazeEntry("CTD, 1 step", "ctd", 1, controller=follow),
        MazeEntry("RACTD, 1 step", "ractd", 1, controller=follow),
    ]


def additions(settings: Settings, conditionings: Sequence[str]) -> list[MazeEntry]:
    """What conditioning, controller, candidates and replanning add to one plan."""

    def entry(label, candidates=1, model="ractd", steps=1, **controller):
        follow = dataclasses.replace(settings.controller, **controller)
        return MazeEntry(label, model, steps, candidates, follow)

    diffuser = {"gain_position": 1.0, "gain_velocity": 1.0}
    steps = settings.evaluation.teacher_steps
    others = []
    for name in conditionings:
        others += [
            entry(f"RACTD, conditioning={name}", model=f"ractd_{name}"),
            entry(
                f"EDM teacher, {steps} steps, conditioning={name}",
                model=f"teacher_{name}",
                steps=steps,
            ),
        ]
    return [
        entry("RACTD"),
        entry(f"EDM teacher, {steps} steps", model="teacher", steps=steps),
        *others,
        entry("RACTD, Diffuser's controller (1 per m)", **diffuser),
        entry("RACTD, inverse dynamics", kind="inverse_dynamics"),
        entry("RACTD, pursuit", kind="pursuit", gain_position=None, gain_velocity=None),
        entry("RACTD, best of 16", 16),
        entry("RACTD, best of 64", 64),
        entry("RACTD, replanned every 50 steps", replan_every=50),
        entry("RACTD, replanned every 10 steps", replan_every=10),
        entry("RACTD, best of 16, every 50 steps", 16, replan_every=50),
    ]
