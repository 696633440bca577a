"""What a student's training computes once: samples of its teacher, and its points."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax import diffusion
from ractd_jax.data.sources import OfflineDataset
from ractd_jax.diffusion import guidance
from ractd_jax.losses import PlanReturnFn
from ractd_jax.methods import CtmStudent, PlanBatch
from ractd_jax.normalizers import is_spread
from ractd_jax.settings import Settings
from ractd_jax.student import PathPoints, sample_one_step, solve_paths
from ractd_jax.training.stages.base import plan_sampling

NOISES = 16
_STATES, _NUMBERS = 64, 4_096
_PATHS_AT_ONCE = 4_096


class Samples(NamedTuple):
    """A model's plans of S of the data's states, for :data:`NOISES` noises each.

    Attributes:
      condition: arrays [S * 16, ...], each state 16 times.
      init: [S * 16, H, D] x_T.
      plans: [S * 16, H, D].
    """

    condition: Any
    init: jax.Array
    plans: jax.Array


def sample_teacher(
    settings: Settings, method: CtmStudent, teacher_params: Any, batch: PlanBatch
) -> Samples:
    """The teacher's, solved once with the steps of the path loss."""
    condition, init = _noisy_states(method, batch)
    solve = make_path_solver(settings, method)
    levels = jnp.zeros(len(init), jnp.int32)
    plans = jnp.clip(solve(teacher_params, init, condition, levels).end, -1.0, 1.0)
    return Samples(condition, init, plans)


def sample_student(method: CtmStudent, params: Any, batch: PlanBatch) -> Samples:
    """A student's, in one step."""
    condition, init = _noisy_states(method, batch)
    plans = jax.jit(one_step_plans(method))(params, init, condition)
    return Samples(condition, init, plans)


def _noisy_states(method: CtmStudent, batch: PlanBatch):
    """(condition, x_T) of :class:`Samples`."""
    # Fewer states where plans are long, and each costs more.
    size = method.dims.plan_shape[0] * method.dims.plan_shape[1]
    states = min(_STATES, max(4, _NUMBERS // size))
    condition = jax.tree.map(
        lambda leaf: jnp.repeat(leaf[:states], NOISES, axis=0), batch.condition
    )
    return condition, init_noise(method, condition)


def return_spread(rate: PlanReturnFn, samples: Samples) -> np.float32:
    """Standard deviation of the predicted return over the plans of one state.

    The root mean square over states; 1 where all plans are rated alike.
    """
    found = jax.jit(rate)(samples.plans, samples.condition).reshape(-1, NOISES)
    spread = float(jnp.sqrt(jnp.mean(jnp.var(found, axis=1))))
    size = float(jnp.abs(found).max())
    return np.float32(spread if is_spread(spread, size) else 1.0)


def init_noise(method: CtmStudent, condition: Any) -> jax.Array:
    """x_T for each row of a condition, the same in every call."""
    shape = (len(jax.tree.leaves(condition)[0]), *method.dims.plan_shape)
    init = method.init_scale * jax.random.normal(jax.random.key(0), shape)
    return method.pin(init, condition)


def one_step_plans(method: CtmStudent):
    """(params, x_T, condition) -> plans, as a planner samples them."""

    def plans(params, init, condition):
        jump_fn = method.jump_fn(params)
        found = sample_one_step(
            lambda x, sigma, stop: jump_fn(x, sigma, stop, condition), init, method.edm
        )
        return jnp.clip(found, -1.0, 1.0)

    return plans


def make_path_solver(settings: Settings, method: CtmStudent):
    """(teacher params, x_T, condition, levels) -> PathPoints."""
    sigmas = diffusion.karras_sigmas(settings.student.path_steps + 1, method.edm)

    @jax.jit
    def solve(params, init, condition, levels):
        denoise_fn = guidance.bind(method.teacher_fn(params), condition)
        denoise_fn = diffusion.clip_denoised(denoise_fn)
        return solve_paths(denoise_fn, init, condition, sigmas, levels)

    return solve


class _Origins:
    """Where the points of the path loss start: conditions and noise, in blocks.

    Their conditions come from all windows, whichever the teacher learned from: in
    closed loop a student reaches states that good episodes seldom visit, and must act
    in them as its teacher would. They depend on the data but not on the training's
    seed, so that the members of a sweep share them.
    """

    def __init__(self, settings: Settings, dataset: OfflineDataset, method: CtmStudent):
        every = dataclasses.replace(settings.dataset, weighting="uniform")
        every = dataclasses.replace(settings, dataset=every)
        self._sampling, _ = plan_sampling("paths", every, dataset)
        self._options, self._method = settings.student, method
        self.rng = np.random.default_rng(0)
        self.size = min(_PATHS_AT_ONCE, self._options.num_paths)
        self._noisy = (np.arange(self.size) % 4 >= 2)[:, None]

    def next(self) -> tuple[jax.Array, Any]:
        """(x_T, condition) of a block."""
        sampling, options, method = self._sampling, self._options, self._method
        rng, size = self.rng, self.size
        rows = rng.integers(sampling["num_rows"], size=size).astype(np.int32)
        condition = sampling["gather"](sampling["data"], rows).condition
        shape = (size, *method.dims.plan_shape)
        init = method.init_scale * rng.standard_normal(shape, np.float32)
        temperature = rng.uniform(options.path_temperature, 1.0, size)
        temperature[::2] = 1.0
        init *= np.float32(temperature)[:, None, None]
        # A kind is a number, and no quantity.
        kept = ("known", "elements") if method.dims.element_kinds else ("known",)
        known = {name: x for name, x in condition.items() if name in kept}
        condition = method.flat(condition)
        noise = rng.standard_normal(condition.shape, np.float32)
        condition = condition + options.path_condition_noise * noise * self._noisy
        condition = {**method.named(condition), **known}
        return method.pin(jnp.asarray(init), condition), condition

    def collect(self, point_fn) -> PathPoints:
        """``student.num_paths`` points of `point_fn`, which makes those of a block."""
        count = self._options.num_paths
        blocks = [jax.device_get(point_fn()) for _ in range(-(-count // self.size))]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *blocks)


def teacher_paths(
    settings: Settings, dataset: OfflineDataset, method: CtmStudent, teacher_params: Any
) -> PathPoints:
    """The points of the path loss: ``student.num_paths``, solved once."""
    options, origins = settings.student, _Origins(settings, dataset, method)
    solve = make_path_solver(settings, method)

    def points():
        init, condition = origins.next()
        within = origins.rng.uniform(size=origins.size) >= options.path_start_share
        levels = within * origins.rng.integers(options.path_steps, size=origins.size)
        return solve(teacher_params, init, condition, levels.astype(np.int32))

    return origins.collect(points)


def best_plans(
    settings: Settings,
    dataset: OfflineDataset,
    method: CtmStudent,
    params: Any,
    rate: PlanReturnFn,
) -> PathPoints:
    """Noise, and the best of ``student.path_candidates`` one-step plans for its state.

    The plan is not that of the noise: one step learns the mean of the best plans of a
    state, from any noise.

    Args:
      settings: settings of the training.
      dataset: where the conditions come from.
      method: the student.
      params: of the student whose plans these are.
      rate: predicts their returns.
    """
    origins, one_step = _Origins(settings, dataset, method), one_step_plans(method)
    candidates = settings.student.path_candidates
    scale = settings.student.candidate_temperature * method.init_scale

    @jax.jit
    def best(init, condition, noises):
        def plans_of(noise):
            return one_step(params, method.pin(noise, condition), condition)

        plans = jax.vmap(plans_of)(noises)
        chosen = jax.vmap(lambda plan: rate(plan, condition))(plans).argmax(axis=0)
        end = jnp.take_along_axis(plans, chosen[None, :, None, None], axis=0)[0]
        sigma = jnp.full(len(init), method.edm.sigma_max)
        return PathPoints(init, sigma, end, condition)

    def points():
        init, condition = origins.next()
        shape = (candidates, *init.shape)
        noises = origins.rng.standard_normal(shape, np.float32)
        return best(init, condition, np.float32(scale) * noises)

    return origins.collect(points)
