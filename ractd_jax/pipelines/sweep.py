"""A grid of trainings in one program, all of them evaluated at each checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.members import evaluate_members, member_params
from ractd_jax.files import write_json
from ractd_jax.normalizers import normalizer_from_dict
from ractd_jax.planning import Planner
from ractd_jax.reports.results_writer import ResultsWriter, result_row
from ractd_jax.settings import Settings, from_mapping, to_dict
from ractd_jax.storage.checkpoint import Checkpointer
from ractd_jax.storage.workdir import NAMES
from ractd_jax.training.grid import Grid, member_settings
from ractd_jax.training.stages import Stage
from ractd_jax.training.sweep import train_grid


def run_sweep(
    stage: Stage,
    grid: Grid,
    settings: Settings,
    workdir: Path,
    num_episodes: int | None = None,
) -> np.ndarray:
    """Trains and evaluates a grid; goes on with what is in `workdir`.

    Writes ``results.jsonl`` and ``returns.npz``, and in ``members/NAME`` each member's
    own workdir.

    Args:
      stage: what the M members share.
      grid: their values and seeds.
      settings: of the config.
      workdir: of the sweep.
      num_episodes: of each evaluation of a member, if not the settings'; 0 for none.
        Reward models do not act and have none.

    Returns:
      [M] whether each member is still finite.

    Raises:
      ConfigError: `workdir` holds another sweep, or evaluations of other numbers of
        episodes; or evaluations of plans of states are asked for.
      DataError: the results cannot be written there.
    """
    members = grid.members
    results = ResultsWriter(workdir)
    episodes = settings.evaluation.num_episodes
    if num_episodes is not None:
        episodes = num_episodes
    if stage.name == "reward":
        episodes = 0
    if episodes and settings.plan.kind == "states":
        raise ConfigError(
            "--num_episodes: expected 0 with config.plan.kind = 'states', as a sweep "
            f"evaluates plans of actions, found {episodes}"
        )
    _check_same_episodes(results, episodes, workdir)
    _check_same_sweep(stage, settings, members, workdir)

    def on_checkpoint(step, states, finite):
        if episodes and not all(results.has(m.name, step) for m in members):
            _evaluate_all(
                stage, settings, members, step, states, finite, results, episodes
            )

    states, finite = train_grid(stage, grid, settings.run, workdir, on_checkpoint)
    _write_members(stage, settings, members, states, workdir)
    for member, ok in zip(members, finite, strict=True):
        if not ok:
            logging.warning("%s went non-finite and was frozen", member.name)
    return finite


def _check_same_episodes(results: ResultsWriter, episodes: int, workdir) -> None:
    others = results.episodes() - {episodes}
    if episodes and others:
        raise ConfigError(
            f"--num_episodes: {workdir} holds evaluations of "
            f"{', '.join(map(str, sorted(others)))} episodes: expected as many, or "
            f"another --workdir, found {episodes}"
        )


def _check_same_sweep(stage, settings, members, workdir) -> None:
    about = {
        "stage": stage.name,
        "settings": to_dict(settings),
        "members": [member._asdict() for member in members],
    }
    path = workdir / "sweep.json"
    if path.exists() and _compared(json.loads(path.read_text())) != _compared(about):
        raise ConfigError(
            f"{workdir} holds another sweep ({path.name} differs): use another "
            "--workdir, or remove this one"
        )
    write_json(path, about)


def _compared(about: Mapping[str, Any]) -> dict[str, Any]:
    """In the form of JSON, without the names of the data: its content is compared."""
    found = json.loads(json.dumps(about))
    for name in NAMES:
        section, _, field = name.partition(".")
        found["settings"][section].pop(field, None)
    return found


def _planner_of(stage, settings: Settings, params) -> Planner:
    """A planner of the stage; what its members' planners share."""
    normalizers = {
        name: normalizer_from_dict(value)
        for name, value in stage.metadata["normalizers"].items()
    }
    student = stage.name == "student"
    return Planner(
        settings,
        Dimensions(**stage.metadata["dimensions"]),
        stage.name,
        params,
        normalizers["observations"],
        normalizers["actions"],
        num_steps=settings.evaluation.student_steps
        if student
        else settings.evaluation.teacher_steps,
        temperature=settings.evaluation.temperature,
    )


def _evaluate_all(
    stage, settings, members, step, states, finite, results, episodes
) -> None:
    """Adds a row of each member at this step; of one that is not finite, that."""
    options, environment = settings.evaluation, settings.environment
    planner = _planner_of(stage, settings, member_params(states.ema_params, 0))
    found = evaluate_members(
        planner, states.ema_params, environment, episodes, options.seed, options.noise
    )
    for i, member in enumerate(members):
        returns = found[i].returns if finite[i] else None
        row = result_row(
            member.name,
            dict(member.values),
            member.seed,
            settings,
            step,
            step == stage.num_steps,
            returns,
        )
        results.add(row, returns)
    results.write()


def _write_members(stage, settings, members, states, workdir) -> None:
    """Each member's own workdir: config.json and the last checkpoint."""
    for i, member in enumerate(members):
        folder = workdir / "members" / member.name
        own = to_dict(from_mapping(member_settings(stage.name, member), settings))
        checkpointer = Checkpointer(folder)
        state = jax.tree.map(lambda leaf, i=i: leaf[i], states)
        if checkpointer.latest_step() != int(state.step):
            checkpointer.save(state, stage.metadata | {"settings": own})
        checkpointer.close()
        write_json(folder / "config.json", own)
