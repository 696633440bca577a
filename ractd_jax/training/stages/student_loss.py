"""Stage 3's loss, from settings, and the probe that watches it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from absl import logging

from ractd_jax import diffusion, losses, models
from ractd_jax.data.normalizers import MinMaxNormalizer
from ractd_jax.settings import Settings
from ractd_jax.student import sample_one_step, sample_time_triples
from ractd_jax.training.parallel import WHOLE, LossFn
from ractd_jax.training.state import TrainState


def student_loss_fn(settings: Settings, dims, unet, reward_model) -> LossFn:
    options, noise = settings.student, settings.diffusion
    distance_fn = losses.distance(options.distance)
    num_scales = options.num_scales or noise.num_scales

    def loss_fn(params, target_params, frozen, batch, key, part=WHOLE):
        keys = jax.random.split(key, 6)
        plans, condition = batch
        total = part.count * len(plans)
        sigma = diffusion.sample_student_sigma(
            keys[0],
            total,
            noise.num_scales,
            noise.sigma_min,
            noise.sigma_max,
            noise.rho,
            (noise.log_sigma_mean, noise.log_sigma_std),
        )
        init_noise = models.init_noise_scale(noise) * part.normal(keys[5], plans.shape)
        # Where the ends of a plan are known, there is no noise on them.
        still = jnp.zeros_like(condition)
        triple = sample_time_triples(
            keys[1], total, num_scales, options.max_solver_steps
        )
        draws = losses.StudentDraws(
            triple=jax.tree.map(part.of, triple),
            ctm_noise=models.pin(unet, part.normal(keys[2], plans.shape), still),
            dsm_sigma=part.of(sigma),
            dsm_noise=models.pin(unet, part.normal(keys[4], plans.shape), still),
            init_noise=models.pin(unet, init_noise, condition),
        )
        frozen_params = jax.lax.stop_gradient(
            params if target_params is None else target_params
        )
        frozen_jump = models.make_jump_fn(unet, frozen_params, noise)
        weights = frozen["weights"]
        plan_return_fn = None
        if reward_model is not None:
            reward_fn = models.make_reward_fn(
                reward_model, frozen["reward"], weights["pessimism"]
            )
            plan_return_fn = models.make_plan_return_fn(reward_fn, dims)
        return losses.student_loss(
            models.make_clean_fn(
                unet,
                params,
                noise,
                deterministic=options.dropout_rate == 0.0,
                rngs={"dropout": part.key(keys[3])},
            ),
            lambda x, sigma, stop: frozen_jump(x, sigma, stop, condition),
            models.make_denoise_fn(unet, frozen["teacher"], condition, noise),
            plan_return_fn,
            plans,
            condition,
            draws,
            models.bin_sigmas(noise, num_scales),
            distance_fn=distance_fn,
            sigma_data=noise.sigma_data,
            sigma_floor=noise.sigma_floor,
            max_solver_steps=options.max_solver_steps,
            ctm_weight=weights["ctm_weight"],
            dsm_weight=weights["dsm_weight"],
            reward_weight=weights["reward_weight"],
            advantage_cap=weights["advantage_cap"] if options.advantage_cap else None,
            dsm_form=options.dsm_form,
            reward_input=options.reward_input,
        )

    return loss_fn


def student_probe(settings, dims, unet, reward_model, frozen, batch, metadata):
    """Predicted returns of one-step plans at fixed states, against the data's range.

    A median above the data's 99th percentile is the signature of a student that
    exploits the reward model; it is warned of once.
    """
    noise, options = settings.diffusion, settings.student
    stored = metadata["predicted_return"]
    normalizer = MinMaxNormalizer.from_dict(stored["return_normalizer"])
    _, condition = batch
    init = models.init_noise_scale(noise) * jax.random.normal(
        jax.random.key(0), (len(condition), *dims.plan_shape)
    )
    init = models.pin(unet, init, condition)

    @jax.jit
    def predicted(params, reward_params, condition, init):
        jump_fn = models.make_jump_fn(unet, params, noise)
        plans = sample_one_step(
            lambda x, sigma, stop: jump_fn(x, sigma, stop, condition),
            init,
            noise.sigma_max,
            noise.sigma_min,
        )
        reward_fn = models.make_reward_fn(
            reward_model, reward_params, options.pessimism
        )
        predicted = models.make_plan_return_fn(reward_fn, dims)(plans, condition)
        quantiles = jnp.quantile(predicted, jnp.array([0.5, 0.99]))
        return normalizer.unnormalize(quantiles)

    warned = []

    def probe(state: TrainState) -> dict[str, float]:
        median, q99 = predicted(
            # The replicas agree; the rest of the probe lives on one device.
            jax.device_put(state.ema_params, jax.local_devices()[0]),
            frozen["reward"],
            condition,
            init,
        )
        if float(median) > stored["data_q99"] and not warned:
            warned.append(True)
            logging.warning(
                "the student's predicted return (median %.1f) is above the data's "
                "(99th percentile %.1f) at step %d: it may be exploiting the reward "
                "model; lower config.student.reward_weight or raise "
                "config.student.pessimism",
                float(median),
                stored["data_q99"],
                int(state.step),
            )
        return {
            "reward/student_median": median,
            "reward/student_q99": q99,
            "reward/data_median": stored["data_median"],
            "reward/data_q99": stored["data_q99"],
        }

    return probe
