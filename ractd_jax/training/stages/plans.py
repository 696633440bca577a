"""Trainings of methods that learn plans from windows alone."""

from __future__ import annotations

from ractd_jax.data.sources import OfflineDataset
from ractd_jax.methods import PLAN_METHODS
from ractd_jax.settings import Settings
from ractd_jax.training.stages.base import (
    Stage,
    base_metadata,
    plan_sampling,
    require_one_hot,
)
from ractd_jax.training.stages.plan_sizes import dimensions


def plan_stage(name: str, settings: Settings, dataset: OfflineDataset) -> Stage:
    """The training of a method by its name: ``teacher``, ``ddpm``, ``bc``, or one that
    :func:`ractd_jax.methods.register_plan_method` has made known.

    Raises:
      ConfigError: the method or its network cannot make such plans.
    """
    method = PLAN_METHODS[name].from_settings(settings, dimensions(settings, dataset))
    if name == "discrete_bc":
        require_one_hot(dataset, name)
    options = method.options(settings)
    sampling, windows = plan_sampling(name, settings, dataset)
    return Stage(
        name=name,
        method=method,
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        frozen={},
        metadata=base_metadata(name, settings, dataset) | {"windows": windows},
        **sampling,
    )
