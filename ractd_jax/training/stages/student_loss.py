"""Stage 3's loss, from settings."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ractd_jax import diffusion, losses, models
from ractd_jax.settings import Settings
from ractd_jax.student import PathPoints, sample_time_triples
from ractd_jax.training.parallel import WHOLE, LossFn
from ractd_jax.training.stages.base import plan_distance


def student_loss_fn(settings: Settings, dims, network, reward_model) -> LossFn:
    options, noise = settings.student, settings.diffusion
    edm = models.edm_noise(noise)
    num_scales = options.num_scales
    if num_scales is None:
        num_scales = noise.num_scales
    form = losses.StudentForm(
        plan_distance(options.distance, settings.plan),
        options.max_solver_steps,
        options.dsm_form,
        options.reward_input,
    )

    def loss_fn(params, target_params, frozen, batch, key, part=WHOLE):
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
        plans, condition = batch
        total = part.count * len(plans)
        sigma = diffusion.sample_student_sigma(
            sigma_key,
            total,
            noise.num_scales,
            edm,
            (noise.log_sigma_mean, noise.log_sigma_std),
        )
        init_noise = models.init_noise_scale(noise) * part.normal(init_key, plans.shape)
        if options.reward_temperature < 1.0:
            temperature = jax.random.uniform(
                temperature_key, (total, 1, 1), minval=options.reward_temperature
            )
            init_noise = part.of(temperature) * init_noise
        # Where the ends of a plan are known, there is no noise on them.
        still = jnp.zeros_like(condition)
        triple = sample_time_triples(
            triple_key, total, num_scales, options.max_solver_steps
        )
        path = None
        if options.path_weight:
            path = _draw_points(
                frozen["paths"], options.path_batch_size, path_key, part
            )
        draws = losses.StudentDraws(
            triple=jax.tree.map(part.of, triple),
            ctm_noise=models.pin(network, part.normal(ctm_key, plans.shape), still),
            dsm_sigma=part.of(sigma),
            dsm_noise=models.pin(network, part.normal(dsm_key, plans.shape), still),
            init_noise=models.pin(network, init_noise, condition),
            path=path,
        )
        frozen_params = jax.lax.stop_gradient(
            params if target_params is None else target_params
        )
        frozen_jump = models.make_jump_fn(network, frozen_params, edm)
        coefficients = frozen["coefficients"]
        plan_return_fn = None
        if reward_model is not None:
            reward_fn = models.make_reward_fn(
                reward_model, frozen["reward"], coefficients.pessimism
            )
            plan_return_fn = models.make_plan_return_fn(reward_fn, dims)
        functions = losses.StudentFunctions(
            clean=models.make_clean_fn(
                network,
                params,
                edm,
                deterministic=options.dropout_rate == 0.0,
                rngs={"dropout": part.key(dropout_key)},
            ),
            frozen_jump=lambda x, sigma, stop: frozen_jump(x, sigma, stop, condition),
            teacher_denoise=models.make_denoise_fn(
                network, frozen["teacher"], condition, edm
            ),
            plan_return=plan_return_fn,
        )
        sigmas = diffusion.bin_sigmas(num_scales, edm)
        return losses.student_loss(
            functions, plans, condition, draws, sigmas, coefficients, form, edm
        )

    return loss_fn


def _draw_points(paths: PathPoints, batch_size: int, key, part) -> PathPoints:
    rows = jax.random.randint(key, (batch_size,), 0, len(paths.sigma))
    return jax.tree.map(lambda leaf: leaf[part.of(rows)], paths)
