"""Planners: samplers with weights, from raw observations to raw plans."""

from ractd_jax.planning.inverse_dynamics import load_inverse_dynamics
from ractd_jax.planning.loading import load_planner
from ractd_jax.planning.planner import PRECISIONS, Planner

__all__ = [
    "PRECISIONS",
    "Planner",
    "load_inverse_dynamics",
    "load_planner",
]
