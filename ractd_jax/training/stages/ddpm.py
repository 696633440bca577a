"""The DDPM model: Diffuser's kind of planner, beside the EDM teacher."""

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


def ddpm_stage(settings: Settings, dataset: OfflineDataset) -> Stage:
    """The teacher's network on a discrete diffusion, predicting the clean plan."""
    dims = dimensions(settings, dataset)
    options = settings.ddpm
    network = models.make_network(settings.network, dims, options.dropout_rate)
    distance_fn = plan_distance(options.distance, settings.plan)
    schedule = diffusion.ddpm_schedule(options.num_timesteps)

    def loss_fn(params, target_params, frozen, batch, key, part=WHOLE):
        del target_params, frozen
        time_key, noise_key, dropout_key = jax.random.split(key, 3)
        plans, condition = batch
        clean_fn = models.make_ddpm_clean_fn(
            network,
            params,
            condition,
            schedule,
            deterministic=options.dropout_rate == 0.0,
            rngs={"dropout": part.key(dropout_key)},
        )
        times = jax.random.randint(
            time_key, (part.count * len(plans),), 0, options.num_timesteps
        )
        loss = losses.ddpm_loss(
            clean_fn,
            plans,
            part.of(times),
            part.normal(noise_key, plans.shape),
            schedule,
            distance_fn=distance_fn,
        )
        return loss, {"loss/ddpm": loss}

    sampling, windows = plan_sampling("ddpm", settings, dataset)
    return Stage(
        name="ddpm",
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        init_params=lambda key: models.init_network(network, dims, key, "ddpm"),
        loss_fn=loss_fn,
        frozen={},
        metadata=base_metadata("ddpm", settings, dataset) | {"windows": windows},
        **sampling,
    )
