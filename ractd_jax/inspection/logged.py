"""The findings that matter to a training, logged once by whatever loads the data."""

from __future__ import annotations

from collections.abc import Mapping

import gymnasium
import jax
from absl import logging

from ractd_jax.data.episodes import Episodes
from ractd_jax.dimensions import Bounds
from ractd_jax.inspection.facts import gather_facts
from ractd_jax.inspection.findings import WARNING, findings_of
from ractd_jax.normalizers import Normalizer
from ractd_jax.processes import is_first_process

# Bounds of actions where no environment says some.
GUESS = (-1.0, 1.0)

_logged: set[str] = set()


def log_findings(
    name: str,
    episodes: Episodes,
    normalizers: Mapping[str, Normalizer],
    environment_id: str,
    bounds: Bounds,
) -> None:
    """Logs what may spoil a training: once in this process, and in one of a job's.

    Only what costs little is looked at; ``experiments.inspect_dataset`` shows all.

    Args:
      name: name of the data.
      episodes: the data.
      normalizers: of ``observations`` and ``actions``.
      environment_id: of what they are evaluated in; empty where none is known.
      bounds: of its actions.
    """
    # Which process this is asks for a device; a job has one by now.
    if jax.distributed.is_initialized() and not is_first_process():
        return
    # A limit says something of data that flag no timeout; others tell their own.
    limit = None if episodes.timeouts.any() else time_limit(environment_id)
    facts = gather_facts(
        episodes,
        name=name,
        normalizers=normalizers,
        bounds=bounds if bounds.low else GUESS,
        assumed_bounds=not bounds.low,
        limit=limit,
    )
    for finding in findings_of(facts):
        line = f"{name}: {finding}"
        if finding.severity == WARNING and line not in _logged:
            _logged.add(line)
            logging.warning("%s", line)


def time_limit(environment_id: str) -> int | None:
    """Steps of the environment's time limit, where Gymnasium knows it."""
    spec = gymnasium.registry.get(environment_id)
    return spec.max_episode_steps if spec else None
