"""A trained inverse dynamics model as a function of raw observations."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

import jax

from ractd_jax.errors import CheckpointError
from ractd_jax.methods import InverseDynamicsMethod
from ractd_jax.normalizers import normalizer_from_dict
from ractd_jax.storage.checkpoint import StoredModel


@dataclasses.dataclass(frozen=True)
class InverseDynamicsModel:
    """f(observations [B, O], next_observations [B, O]) -> actions [B, A].

    Everything is in environment units. Actions are clipped to the data's range.

    Attributes:
      action_fn: jitted.
      stride: environment steps between the two observations.
      sha256: digest of its checkpoint.
    """

    action_fn: Callable[[jax.Array, jax.Array], jax.Array]
    stride: int
    sha256: str = ""

    def __call__(
        self, observations: jax.Array, next_observations: jax.Array
    ) -> jax.Array:
        return self.action_fn(observations, next_observations)


def load_inverse_dynamics(
    directory: str | os.PathLike, *, weights: str = "ema"
) -> InverseDynamicsModel:
    """Loads the inverse dynamics trained in `directory`.

    Args:
      directory: workdir of a training with ``--stage=inverse_dynamics``.
      weights: ``ema`` or ``raw``.

    Raises:
      CheckpointError: the folder has no readable checkpoint of inverse dynamics.
    """
    stored = StoredModel(directory)
    stage = stored.metadata["stage"]
    if stage != "inverse_dynamics":
        raise CheckpointError(
            f"{directory}: expected an inverse_dynamics checkpoint, found a {stage} "
            "checkpoint"
        )
    method = InverseDynamicsMethod.from_metadata(stored.metadata)
    template = jax.eval_shape(method.init, jax.random.key(0))
    normalizers = stored.metadata["normalizers"]
    action_fn = method.action_fn(
        stored.load(template, weights),
        normalizer_from_dict(normalizers["observations"]),
        normalizer_from_dict(normalizers["actions"]),
    )
    stride = stored.metadata["settings"]["inverse_dynamics"]["stride"]
    return InverseDynamicsModel(jax.jit(action_fn), stride, stored.sha256)
