"""EDM and DDPM diffusion as pure functions of arrays."""

from ractd_jax.diffusion.ddpm import (
    DdpmCleanFn,
    DdpmSchedule,
    add_ddpm_noise,
    ddpm_schedule,
    sample_ddim,
    sample_ddpm,
)
from ractd_jax.diffusion.noise import EdmNoise, noise_input
from ractd_jax.diffusion.preconditioning import (
    boundary_preconditioning,
    denoise,
    edm_weight,
    expand,
)
from ractd_jax.diffusion.schedules import (
    bin_sigmas,
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
    "DdpmCleanFn",
    "DdpmSchedule",
    "EdmNoise",
    "add_ddpm_noise",
    "bin_sigmas",
    "boundary_preconditioning",
    "clip_denoised",
    "ddpm_schedule",
    "denoise",
    "edm_weight",
    "euler_step",
    "expand",
    "heun_step",
    "karras_sigma",
    "karras_sigmas",
    "noise_input",
    "sample_ddim",
    "sample_ddpm",
    "sample_euler",
    "sample_heun",
    "sample_log_normal_sigma",
    "sample_student_sigma",
]
