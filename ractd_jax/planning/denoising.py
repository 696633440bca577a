"""How a teacher's plan forms from noise: the points along its ODE path."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax import diffusion
from ractd_jax.diffusion import guidance
from ractd_jax.inputs import checked_key, fixed_numerics
from ractd_jax.planning.planner import Planner


def denoising_path(
    planner: Planner, observation: np.ndarray, key: jax.typing.ArrayLike, num_shown: int
) -> tuple[np.ndarray, np.ndarray]:
    """Points on the path that leads to ``planner.plan(observation[None], key)``.

    The noise, the Heun steps and the Karras grid are the same. The path has S + 1
    points; K = `num_shown` of them are returned, about equally spaced in the share of
    noise, sigma / (sigma + sigma_data). Points equally spaced in steps would be all
    noise or all plan.

    Args:
      planner: a teacher with S steps and one candidate.
      observation: [O + G] in environment units, one row of the argument of ``plan``.
      key: one key, as for ``plan``.
      num_shown: K, from 2 to S + 1.

    Returns:
      levels: [K] the noise levels, from sigma_max to sigma_min.
      states: [K, H, D] float32 in environment units; the first is x_T, which lies far
        outside the data, and the last is the plan, clipped to the data's range.

    Raises:
      ValueError: another planner, more than one key, an impossible `num_shown`, or an
        observation that ``plan`` refuses.
    """
    if planner.stage != "teacher" or planner.num_candidates != 1:
        raise ValueError(
            "planner: expected a teacher with one candidate, found a "
            f"{planner.stage} with {planner.num_candidates}"
        )
    num_points = planner.num_steps + 1
    if not 2 <= num_shown <= num_points:
        raise ValueError(f"num_shown must be in 2..{num_points}, not {num_shown}")
    key = checked_key(key, 1)
    if key.ndim:
        raise ValueError(f"key: expected one key, found shape {list(key.shape)}")
    method = planner.method
    sigmas = diffusion.karras_sigmas(num_points, method.edm)
    condition = planner.condition(np.asarray(observation)[None])
    # As Planner.plan draws it: a key for each observation, then for its candidates.
    with fixed_numerics():
        key = jax.random.split(key, 1)[0]
        x_init = jax.random.normal(key, (1, *planner.dims.plan_shape))
        points = _trajectory(planner, condition, x_init, sigmas)[:, 0]
        points = points.at[-1].set(jnp.clip(points[-1], -1.0, 1.0))
    shown = _spread(np.asarray(sigmas), method.edm.sigma_data, num_shown)
    points = np.asarray(points)[shown]
    condition = jax.tree.map(lambda leaf: jnp.repeat(leaf, num_shown, 0), condition)
    states = np.asarray(planner.unnormalize_plans(points, condition))
    return np.asarray(sigmas)[shown], states


def _spread(sigmas, sigma_data, num_shown):
    """[K] increasing indices, the first 0 and the last S."""
    shares = sigmas / (sigmas + sigma_data)
    wanted = np.linspace(shares[0], shares[-1], num_shown)
    nearest = np.abs(shares - wanted[:, None]).argmin(axis=1)
    order = np.arange(num_shown)
    # No step twice, and enough steps left for the points that follow.
    increasing = np.maximum.accumulate(nearest - order) + order
    return np.minimum(increasing, len(sigmas) - num_shown + order)


def _trajectory(planner, condition, x_init, sigmas):
    """[S + 1, B, H, D] normalised points on the path of the teacher's sampler."""
    method = planner.method

    @jax.jit
    def solve(params):
        denoise_fn = method.guided(method.denoise_fn(params), planner.transforms)
        denoise_fn = guidance.bind(denoise_fn, condition)
        denoise_fn = diffusion.clip_denoised(denoise_fn)

        def body(x, levels):
            x = diffusion.heun_step(denoise_fn, x, *levels)
            return x, x

        x = method.pin(planner.temperature * method.init_scale * x_init, condition)
        points = jax.lax.scan(body, x, (sigmas[:-1], sigmas[1:]))[1]
        return jnp.concatenate([x[None], points])

    return solve(planner.params)
