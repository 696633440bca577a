"""The noise of an EDM diffusion: its levels, and the factors around a network."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class EdmNoise(NamedTuple):
    """The noise levels and factors that a denoiser and its solvers share.

    Attributes:
      sigma_min: lowest noise level, "time zero" in Duan et al. (2025).
      sigma_max: highest noise level.
      sigma_data: standard deviation of the normalised data.
      rho: curvature of the grid of levels (Karras et al. 2022, eq. 5).
      floor: see :func:`ractd_jax.diffusion.boundary_preconditioning`; None for EDM's
        own factors.
    """

    sigma_min: float = 0.02
    sigma_max: float = 80.0
    sigma_data: float = 0.5
    rho: float = 7.0
    floor: float | None = None


def noise_input(sigma: jax.Array) -> jax.Array:
    """c_noise = 250 ln sigma, the form in which a network takes a noise level."""
    return 250.0 * jnp.log(sigma)
