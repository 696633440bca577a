"""A student's fidelity to its teacher, measured on two planners."""

from __future__ import annotations

import jax
import numpy as np

from ractd_jax import student
from ractd_jax.data.episodes import Episodes
from ractd_jax.planning import Planner

_NOISES = 32


def dataset_states(episodes: Episodes, num_states: int, seed: int = 0) -> np.ndarray:
    """[S, O] observations drawn from the data, in environment units."""
    rows = np.random.default_rng(seed).integers(
        episodes.num_transitions, size=num_states
    )
    return episodes.observations[rows]


def compare_planners(
    teacher: Planner,
    one_step: Planner,
    observations: np.ndarray,
    num_noises: int = _NOISES,
    seed: int = 0,
) -> dict[str, float]:
    """:func:`ractd_jax.student.fidelity` of two planners.

    Args:
      teacher: a teacher with one candidate, which solves its ODE from each noise.
      one_step: a student of one jump and one candidate, so that a key gives it the same
        noise.
      observations: [S, O + G], or [S, h, O] for planners with a history.
      num_noises: K plans in each state.
      seed: seed of the noise.

    Returns:
      The scalars of :func:`ractd_jax.student.fidelity`.
    """
    repeated = np.repeat(observations, num_noises, axis=0)
    keys = jax.random.split(jax.random.key(seed), len(repeated))
    groups = (len(observations), num_noises, *teacher.dims.plan_shape)
    plans = [
        planner.normalize_plans(np.asarray(planner.plan(repeated, keys)))
        for planner in (teacher, one_step)
    ]
    found = student.fidelity(*(plan.reshape(groups) for plan in plans))
    return {name: float(value) for name, value in found.items()}
