"""EDM diffusion as pure functions of arrays."""

from ractd_jax.diffusion.preconditioning import (
    boundary_preconditioning,
    denoise,
    edm_weight,
    expand,
)
from ractd_jax.diffusion.schedules import (
    karras_sigma,
    karras_sigmas,
    sample_log_normal_sigma,
    sample_student_sigma,
)
from ractd_jax.diffusion.solvers import (
    clip_denoised,
    euler_step,
    heun_step,
    sample_euler,
    sample_heun,
)

__all__ = [
    "boundary_preconditioning",
    "clip_denoised",
    "denoise",
    "edm_weight",
    "euler_step",
    "expand",
    "heun_step",
    "karras_sigma",
    "karras_sigmas",
    "sample_euler",
    "sample_heun",
    "sample_log_normal_sigma",
    "sample_student_sigma",
]
