"""The findings that matter to a training, logged once by whatever loads the data."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping

import gymnasium
import jax
import numpy as np
from absl import logging

from ractd_jax.data.episodes import Episodes
from ractd_jax.inspection.facts import gather_facts
from ractd_jax.inspection.findings import WARNING, findings_of
from ractd_jax.normalizers import Normalizer
from ractd_jax.processes import is_first_process
from ractd_jax.settings import Environment
from ractd_jax.tasks.environments import make_environment

# Bounds of actions where no environment says some.
GUESS = (-1.0, 1.0)

_logged: set[str] = set()


def log_findings(
    name: str,
    episodes: Episodes,
    normalizers: Mapping[str, Normalizer],
    environment: Environment,
) -> None:
    """Logs what may spoil a training: once in this process, and in one of a job's.

    Only what costs little is looked at; ``experiments.inspect_dataset`` shows all.

    Args:
      name: name of the data.
      episodes: the data.
      normalizers: of ``observations`` and ``actions``.
      environment: that they are evaluated in, with an empty id where none is known.
    """
    # Which process this is asks for a device; a job has one by now.
    if jax.distributed.is_initialized() and not is_first_process():
        return
    bounds = action_bounds(environment, episodes.actions.shape[1])
    # A limit says something of data that flag no timeout; others tell their own.
    limit = None if episodes.timeouts.any() else time_limit(environment.id)
    facts = gather_facts(
        episodes,
        name=name,
        normalizers=normalizers,
        bounds=bounds or GUESS,
        assumed_bounds=bounds is None,
        limit=limit,
    )
    for finding in findings_of(facts):
        line = f"{name}: {finding}"
        if finding.severity == WARNING and line not in _logged:
            _logged.add(line)
            logging.warning("%s", line)


def action_bounds(
    environment: Environment, size: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """([A] low, [A] high) of an environment's `size` actions; None where unknown."""
    if not environment.id:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with contextlib.closing(make_environment(environment)) as env:
                space = env.action_space
        except Exception:  # anything, from anybody's environment; whoever needs it says
            return None
    known = isinstance(space, gymnasium.spaces.Box) and space.shape == (size,)
    return (space.low, space.high) if known else None


def time_limit(environment_id: str) -> int | None:
    """Steps of the environment's time limit, where Gymnasium knows it."""
    spec = gymnasium.registry.get(environment_id)
    return spec.max_episode_steps if spec else None
