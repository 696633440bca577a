"""Behaviour cloning: the baseline that a planner has to beat."""

from __future__ import annotations

import jax.numpy as jnp

from ractd_jax import models
from ractd_jax.data.sources import OfflineDataset
from ractd_jax.errors import ConfigError
from ractd_jax.settings import Settings
from ractd_jax.training.parallel import WHOLE
from ractd_jax.training.stages.base import (
    Stage,
    base_metadata,
    dimensions,
    plan_distance,
    plan_sampling,
)


def bc_stage(settings: Settings, dataset: OfflineDataset) -> Stage:
    """Behaviour cloning with the teacher's network, which sees no noise.

    It regresses the plan on the condition by squared error, so that it learns the mean
    of the data's plans. With ``dataset.weighting = "top"`` it is percentile behaviour
    cloning.

    Raises:
      ConfigError: plans of states, between whose ends there is no mean to follow.
    """
    dims = dimensions(settings, dataset)
    if dims.plans_states:
        raise ConfigError(
            "config.plan.kind: expected 'actions' for behaviour cloning, found 'states'"
        )
    options = settings.bc
    network = models.make_network(settings.network, dims, options.dropout_rate)
    distance_fn = plan_distance("squared", settings.plan)

    def loss_fn(params, target_params, frozen, batch, key, part=WHOLE):
        del target_params, frozen
        plans, condition = batch
        predict = models.make_regression_fn(
            network,
            params,
            dims,
            deterministic=options.dropout_rate == 0.0,
            rngs={"dropout": part.key(key)},
        )
        loss = distance_fn(predict(condition), plans, jnp.ones(len(plans)))
        return loss, {"loss/mse": loss}

    sampling, windows = plan_sampling("bc", settings, dataset)
    return Stage(
        name="bc",
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        init_params=lambda key: models.init_network(network, dims, key, "bc"),
        loss_fn=loss_fn,
        frozen={},
        metadata=base_metadata("bc", settings, dataset) | {"windows": windows},
        **sampling,
    )
