"""The one-step student: a consistency trajectory model with a reward term (RACTD).

L = alpha L_CTM + beta L_DSM + sigma_r L_Reward + kappa L_path, which
:func:`ractd_jax.losses.student_loss` computes. The first three terms are those of
Duan et al. (2025); L_path distils whole solutions of the teacher.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax import diffusion, losses
from ractd_jax.diffusion import EdmNoise, guidance
from ractd_jax.diffusion.guidance import Condition, ConditionedDenoiseFn
from ractd_jax.dimensions import Dimensions
from ractd_jax.losses import StudentCoefficients, StudentForm
from ractd_jax.methods.base import (
    Info,
    PlanBatch,
    PlanMethod,
    Sampler,
    check_temperature,
    edm_noise,
    init_noise_scale,
    of_settings,
    plan_distance,
)
from ractd_jax.methods.edm import EdmTeacher
from ractd_jax.methods.reward import Rating
from ractd_jax.networks import ResidualMLP, fold_levels, fold_mlp_levels
from ractd_jax.settings import Settings, Student
from ractd_jax.student import (
    TimeTriple,
    clean_estimate,
    few_step_bins,
    move_towards,
    sample_few_step,
    sample_time_triples,
)

# G(x, sigma, sigma_stop, condition)
ConditionedJumpFn = Callable[[jax.Array, jax.Array, jax.Array, Condition], jax.Array]


class CtmDraws(NamedTuple):
    """Draws of a step. The noises are standard normal, except for `init_noise`.

    Attributes:
      triple: bins (t, u, s), each int32 [B].
      ctm_noise: [B, H, D].
      dsm_sigma: [B] noise levels.
      dsm_noise: [B, H, D].
      init_noise: [B, H, D] x_T of the one-step sample, scaled.
      path_rows: int32 [P] indices of the path loss's points, or None without that loss.
      dropout: key.
    """

    triple: TimeTriple
    ctm_noise: jax.Array
    dsm_sigma: jax.Array
    dsm_noise: jax.Array
    init_noise: jax.Array
    path_rows: jax.Array | None
    dropout: jax.Array


@dataclasses.dataclass(frozen=True)
class CtmStudent(PlanMethod):
    """G(x, t, s) jumps along the teacher's ODE; one jump from x_T makes a plan.

    Attributes:
      edm: the teacher's noise levels.
      init_scale: standard deviation of x_T.
      log_sigma: mean and standard deviation of ln sigma for half of the DSM levels.
      num_scales: N of the grid that samplers and the other half of the levels use.
      loss_scales: N of the grid that the time triples use.
      form: the choices that the loss is compiled for.
      reward_temperature: least scale of the noise that the reward's samples start from.
      num_paths: points of the teacher's paths that the loss draws from; 0 for none.
      path_batch_size: P.
      teacher: the method whose parameters are ``frozen["teacher"]``.
      reward: the method whose parameters are ``frozen["reward"]``; None leaves the
        reward term out (CTD).
      guidance_weight: of the teacher's guidance by elements.
    """

    edm: EdmNoise
    init_scale: float
    log_sigma: tuple[float, float]
    num_scales: int
    loss_scales: int
    form: StudentForm
    reward_temperature: float
    num_paths: int
    path_batch_size: int
    teacher: EdmTeacher
    reward: Rating | None = None
    guidance_weight: float = 1.0

    name = "student"
    jumps = True

    @classmethod
    def default_steps(cls, settings: Settings) -> int:
        return settings.evaluation.student_steps

    @classmethod
    def from_settings(
        cls, settings: Settings, dims: Dimensions, reward: Rating | None = None
    ) -> CtmStudent:
        options, noise = settings.student, settings.diffusion
        form = StudentForm(
            plan_distance(options.distance, settings.plan, dims),
            options.max_solver_steps,
            options.dsm_form,
            options.reward_input,
            options.reward_gradient_clip,
        )
        own_grid = options.num_scales is not None
        return cls(
            **of_settings(settings, dims, "student"),
            edm=edm_noise(noise),
            init_scale=init_noise_scale(noise),
            log_sigma=(noise.log_sigma_mean, noise.log_sigma_std),
            num_scales=noise.num_scales,
            loss_scales=options.num_scales if own_grid else noise.num_scales,
            form=form,
            reward_temperature=options.reward_temperature,
            num_paths=options.num_paths if options.path_weight else 0,
            path_batch_size=options.path_batch_size,
            teacher=EdmTeacher.from_settings(settings, dims),
            reward=reward,
            guidance_weight=options.guidance_weight,
        )

    def teacher_fn(self, params: Any) -> ConditionedDenoiseFn:
        """D(x, sigma, condition) that is distilled: the teacher's, under guidance."""
        transforms = self.teacher.guidance_by_elements(self.guidance_weight)
        return guidance.guided(self.teacher.denoise_fn(params), transforms)

    def clean_fn(self, params: Any, **apply_options: Any) -> losses.CleanFn:
        """g(x, sigma, sigma_stop, condition)."""

        def clean_fn(x, sigma, sigma_stop, condition):
            seen = self.flat(condition)

            def network_fn(scaled, c_noise, c_noise_stop):
                return self.network.apply(
                    {"params": params},
                    scaled,
                    c_noise,
                    seen,
                    c_noise_stop,
                    **apply_options,
                )

            clean = clean_estimate(network_fn, x, sigma, sigma_stop, self.edm)
            return self.pin_clean(clean, condition)

        return clean_fn

    def jump_fn(self, params: Any) -> ConditionedJumpFn:
        """G(x, sigma, sigma_stop, condition)."""
        clean_fn = self.clean_fn(params)

        def jump_fn(x, sigma, sigma_stop, condition):
            clean = clean_fn(x, sigma, sigma_stop, condition)
            return move_towards(x, clean, sigma, sigma_stop)

        return jump_fn

    def fold(self, params: Any, sigma: float) -> Any:
        """Parameters for jumps from `sigma` to sigma_min, both levels folded in."""
        seen = max(sigma, self.edm.floor or 0.0)
        levels = [250.0 * math.log(level) for level in (seen, self.edm.sigma_min)]
        is_mlp = isinstance(self.network, ResidualMLP)
        fold = fold_mlp_levels if is_mlp else fold_levels
        return fold(params, self.network.config, levels)

    def folded_jump_fn(self, folded: Any) -> ConditionedJumpFn:
        """:meth:`jump_fn` for the two levels of :meth:`fold`, with its parameters."""

        def jump_fn(x, sigma, sigma_stop, condition):
            seen = self.flat(condition)

            def network_fn(scaled, c_noise, c_noise_stop):
                del c_noise, c_noise_stop  # folded into the parameters
                return self.network.apply({"params": folded}, scaled, None, seen)

            clean = clean_estimate(network_fn, x, sigma, sigma_stop, self.edm)
            clean = self.pin_clean(clean, condition)
            return move_towards(x, clean, sigma, sigma_stop)

        return jump_fn

    def draw(self, key: jax.Array, batch_size: int) -> CtmDraws:
        (
            sigma_key,
            triple_key,
            ctm_key,
            dropout_key,
            dsm_key,
            init_key,
            path_key,
            temperature_key,
        ) = jax.random.split(key, 8)

        def normal(noise_key):
            return jax.random.normal(noise_key, (batch_size, *self.dims.plan_shape))

        init_noise = self.init_scale * normal(init_key)
        if self.reward_temperature < 1.0:
            temperature = jax.random.uniform(
                temperature_key, (batch_size, 1, 1), minval=self.reward_temperature
            )
            init_noise = temperature * init_noise
        path_rows = None
        if self.num_paths:
            path_rows = jax.random.randint(
                path_key, (self.path_batch_size,), 0, self.num_paths
            )
        return CtmDraws(
            triple=sample_time_triples(
                triple_key, batch_size, self.loss_scales, self.form.max_solver_steps
            ),
            ctm_noise=normal(ctm_key),
            dsm_sigma=diffusion.sample_student_sigma(
                sigma_key, batch_size, self.num_scales, self.edm, self.log_sigma
            ),
            dsm_noise=normal(dsm_key),
            init_noise=init_noise,
            path_rows=path_rows,
            dropout=dropout_key,
        )

    def loss(
        self,
        params: Any,
        target_params: Any,
        frozen: Any,
        batch: PlanBatch,
        draws: CtmDraws,
    ) -> tuple[jax.Array, Info]:
        """See :meth:`Method.loss`.

        `frozen` has the keys ``teacher`` and ``coefficients``, ``reward`` and ``paths``
        where their terms are on, and ``reward_unit`` if returns are scaled.
        """
        plans, condition = batch
        return losses.student_loss(
            self._functions(params, target_params, frozen, condition, draws.dropout),
            plans,
            condition,
            self._pinned(draws, condition, frozen.get("paths")),
            diffusion.bin_sigmas(self.loss_scales, self.edm),
            frozen["coefficients"],
            self.form,
            self.edm,
        )

    def _functions(self, params, target_params, frozen, condition, dropout):
        # The target network, or a copy of the trained one without gradient (sg).
        frozen_params = params if target_params is None else target_params
        frozen_jump = self.jump_fn(jax.lax.stop_gradient(frozen_params))
        plan_return = None
        if self.reward is not None:
            pessimism = frozen["coefficients"].pessimism
            rate = self.reward.plan_return_fn(frozen["reward"], pessimism)
            plan_return = self._scaled(rate, frozen.get("reward_unit"))
        return losses.StudentFunctions(
            clean=self.clean_fn(params, **self.training_options(dropout)),
            frozen_jump=lambda x, sigma, stop: frozen_jump(x, sigma, stop, condition),
            teacher_denoise=guidance.bind(
                self.teacher_fn(frozen["teacher"]), condition
            ),
            plan_return=plan_return,
        )

    def _scaled(self, rate: losses.PlanReturnFn, unit) -> losses.PlanReturnFn:
        """`rate` as the loss has it: in these units, its gradient shortened."""

        def scaled(plans, condition):
            found = rate(plans, condition)
            return found if unit is None else found / unit

        limit = self.form.max_reward_gradient
        return scaled if limit is None else losses.clip_return_gradient(scaled, limit)

    def _pinned(self, draws, condition, paths) -> losses.StudentDraws:
        """The loss's draws, without noise on the known ends of a plan."""
        still = jax.tree.map(jnp.zeros_like, condition)
        path = None
        if draws.path_rows is not None:
            path = jax.tree.map(lambda leaf: leaf[draws.path_rows], paths)
        return losses.StudentDraws(
            triple=draws.triple,
            ctm_noise=self.pin(draws.ctm_noise, still),
            dsm_sigma=draws.dsm_sigma,
            dsm_noise=self.pin(draws.dsm_noise, still),
            init_noise=self.pin(draws.init_noise, condition),
            path=path,
        )

    def sampler(self, num_steps: int = 1, temperature: float = 1.0) -> Sampler:
        """`num_steps` jumps, with noise added back between them.

        Raises:
          ValueError: an impossible number of steps, or a temperature below 0.
        """
        check_temperature(temperature)
        scale, edm = temperature * self.init_scale, self.edm
        bins = np.array(few_step_bins(num_steps, self.num_scales), int)
        grid = np.asarray(diffusion.bin_sigmas(self.num_scales, edm))
        levels = [float(sigma) for sigma in grid[bins]]

        def prepare(params):
            return {
                sigma: self.fold(params, sigma) for sigma in (edm.sigma_max, *levels)
            }

        def sample(weights, condition, noises):
            def jump_fn(x, sigma, sigma_stop):
                folded = self.folded_jump_fn(weights[sigma])
                x = self.pin(x, condition)
                return jnp.clip(folded(x, sigma, sigma_stop, condition), -1.0, 1.0)

            x_init, more = scale * noises[0], temperature * noises[1:]
            return sample_few_step(jump_fn, x_init, more, levels, edm)

        return Sampler(prepare, sample, num_steps, num_steps)


def student_coefficients(options: Student) -> StudentCoefficients:
    """The loss's numbers as float32, from the settings; None (no cap) stays None."""
    values = {name: getattr(options, name) for name in StudentCoefficients._fields}
    return StudentCoefficients(
        **{
            name: None if value is None else np.float32(value)
            for name, value in values.items()
        }
    )
