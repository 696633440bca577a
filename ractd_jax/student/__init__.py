"""The consistency trajectory student."""

from ractd_jax.student.fidelity import fidelity
from ractd_jax.student.jump import (
    clean_estimate,
    few_step_bins,
    jump,
    move_towards,
    sample_few_step,
    sample_one_step,
)
from ractd_jax.student.paths import PathPoints, solve_paths
from ractd_jax.student.targets import (
    TimeTriple,
    sample_time_triples,
    solve_teacher,
    warm_start,
)

__all__ = [
    "PathPoints",
    "TimeTriple",
    "clean_estimate",
    "few_step_bins",
    "fidelity",
    "jump",
    "move_towards",
    "sample_few_step",
    "sample_one_step",
    "sample_time_triples",
    "solve_paths",
    "solve_teacher",
    "warm_start",
]
