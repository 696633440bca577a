"""Planners: samplers with weights, from raw observations to raw plans."""

from ractd_jax.planning.planner import Planner, load_planner, make_sampler

__all__ = ["Planner", "load_planner", "make_sampler"]
