"""The planners of a table: how each is sampled, and what it scores."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import ractd_jax
from ractd_jax.evaluation.results import EpisodeResults, load_results, save_results
from ractd_jax.files import check_writable, with_ending
from ractd_jax.pipelines.evaluations import (
    evaluate_actions,
    evaluate_states,
    results_path,
    usual_evaluation,
)
from ractd_jax.planning import Planner, load_inverse_dynamics
from ractd_jax.settings import Settings

# The training of what follows plans of states.
INVERSE_DYNAMICS = "inverse_dynamics"


class Entry(NamedTuple):
    """A planner of a table.

    Attributes:
      training: name of its training, which is also its folder.
      temperature: temperature, if not the config's.
      num_steps: steps of its sampler, if not the config's.
      noise: ``each_step`` or ``each_episode``, if not the config's.
      num_candidates: plans to choose from, if not the config's.
      reward: name of the training whose predicted return chooses.
    """

    training: str
    temperature: float | None = None
    num_steps: int | None = None
    noise: str | None = None
    num_candidates: int | None = None
    reward: str | None = None


def trainings_of(entries: Iterable[Entry], settings: Settings) -> list[str]:
    """What the entries are made of, by name."""
    entries = list(entries)
    names = [entry.training for entry in entries]
    names += [entry.reward for entry in entries if entry.reward]
    return names + [INVERSE_DYNAMICS] * (settings.plan.kind == "states")


def load_entry(entry: Entry, workdir: Path) -> Planner:
    """The planner of an entry; options that it leaves out come from the training."""
    return ractd_jax.load_planner(
        workdir / entry.training,
        num_steps=entry.num_steps,
        temperature=entry.temperature,
        num_candidates=entry.num_candidates,
        reward=workdir / entry.reward if entry.reward else None,
    )


def evaluate_entry(
    label: str,
    entry: Entry,
    planner: Planner,
    settings: Settings,
    workdir: Path,
) -> EpisodeResults:
    """Raw results of an entry, saved before any statistic is computed.

    Args:
      label: the entry's label.
      entry: the entry.
      planner: its planner, from :func:`load_entry`.
      settings: settings of the pipeline.
      workdir: folder of the pipeline.
    """
    options, states = settings.evaluation, planner.dims.plans_states
    evaluation = usual_evaluation(
        planner,
        settings.environment,
        num_episodes=options.num_episodes,
        seed=options.seed,
        noise=entry.noise or options.noise,
        num_workers=None if states else options.num_workers,
    )
    if states:
        evaluation = evaluation._replace(
            controller=settings.controller,
            inverse_dynamics=load_inverse_dynamics(workdir / INVERSE_DYNAMICS),
        )
    folder = workdir / "evaluation"
    path = with_ending(results_path(planner, evaluation, folder), ".npz")
    if not path.exists():
        check_writable(path)
        if states:
            save_results(path, evaluate_states(planner, evaluation, label).episodes)
        else:
            save_results(path, evaluate_actions(planner, evaluation, label))
    return load_results(path)
