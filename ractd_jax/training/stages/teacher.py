"""Stage 1: the EDM teacher."""

from __future__ import annotations

import jax

from ractd_jax import diffusion, losses, models
from ractd_jax.data.sources import OfflineDataset
from ractd_jax.settings import Settings
from ractd_jax.training.parallel import WHOLE
from ractd_jax.training.stages.base import (
    Stage,
    base_metadata,
    dimensions,
    plan_distance,
    plan_sampling,
)


def teacher_stage(settings: Settings, dataset: OfflineDataset) -> Stage:
    """The EDM teacher, by denoising score matching."""
    dims = dimensions(settings, dataset)
    options = settings.teacher
    network = models.make_network(settings.network, dims, options.dropout_rate)
    distance_fn = plan_distance(options.distance, settings.plan)
    noise, edm = settings.diffusion, models.edm_noise(settings.diffusion)

    def loss_fn(params, target_params, frozen, batch, key, part=WHOLE):
        del target_params, frozen
        sigma_key, noise_key, dropout_key = jax.random.split(key, 3)
        plans, condition = batch
        denoise_fn = models.make_denoise_fn(
            network,
            params,
            condition,
            edm,
            deterministic=options.dropout_rate == 0.0,
            rngs={"dropout": part.key(dropout_key)},
        )
        sigma = diffusion.sample_log_normal_sigma(
            sigma_key,
            part.count * len(plans),
            noise.log_sigma_mean,
            noise.log_sigma_std,
        )
        loss = losses.dsm_loss(
            denoise_fn,
            plans,
            part.of(sigma),
            part.normal(noise_key, plans.shape),
            distance_fn=distance_fn,
            edm=edm,
        )
        return loss, {"loss/dsm": loss}

    sampling, windows = plan_sampling("teacher", settings, dataset)
    return Stage(
        name="teacher",
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        init_params=lambda key: models.init_network(network, dims, key, "teacher"),
        loss_fn=loss_fn,
        frozen={},
        metadata=base_metadata("teacher", settings, dataset) | {"windows": windows},
        **sampling,
    )
