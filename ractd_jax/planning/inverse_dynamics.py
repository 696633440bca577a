"""A trained inverse dynamics model as a function of raw observations."""

from __future__ import annotations

import os
from collections.abc import Callable

import jax

from ractd_jax.data.normalizers import MinMaxNormalizer
from ractd_jax.errors import CheckpointError
from ractd_jax.training.checkpoint import StoredModel
from ractd_jax.training.stages.inverse_dynamics import (
    init_inverse_dynamics,
    make_action_fn,
    make_inverse_dynamics,
)


def load_inverse_dynamics(
    directory: str | os.PathLike, *, weights: str = "ema"
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Loads the inverse dynamics trained in `directory`.

    Args:
      directory: workdir of train_inverse_dynamics.
      weights: ``ema`` or ``raw``.

    Returns:
      A jitted f(observations [B, O], next_observations [B, O]) -> actions [B, A], all
      in environment units, clipped to the range of the data's actions. The
      observations lie ``inverse_dynamics.stride`` environment steps apart.

    Raises:
      CheckpointError: no readable checkpoint of an inverse dynamics model is there.
    """
    stored = StoredModel(directory)
    stage = stored.metadata["stage"]
    if stage != "inverse_dynamics":
        raise CheckpointError(
            f"{directory}: expected an inverse_dynamics checkpoint, found a {stage} "
            "checkpoint"
        )
    model = make_inverse_dynamics(stored.metadata)
    template = jax.eval_shape(lambda: init_inverse_dynamics(model, jax.random.key(0)))
    normalizers = stored.metadata["normalizers"]
    return jax.jit(
        make_action_fn(
            model,
            stored.load(template, weights),
            MinMaxNormalizer.from_dict(normalizers["observations"]),
            MinMaxNormalizer.from_dict(normalizers["actions"]),
        )
    )
