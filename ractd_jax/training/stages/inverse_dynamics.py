"""Inverse dynamics a = f(s, s'), which turn plans of states into actions."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.data.sources import OfflineDataset
from ractd_jax.errors import ConfigError, DataError
from ractd_jax.methods import InverseDynamicsMethod, PairBatch
from ractd_jax.normalizers import Normalizer, is_spread
from ractd_jax.settings import Settings
from ractd_jax.tasks import task_of
from ractd_jax.training.stages.base import Stage, base_metadata
from ractd_jax.training.stages.reward import split_episodes

_BLOCK = 65_536


class PairData(NamedTuple):
    """The dataset's arrays, in environment units, and the pairs to train on.

    Attributes:
      observations: [N, O].
      actions: [N, A].
      train_rows: [P] int32 first steps of the pairs.
    """

    observations: jax.Array
    actions: jax.Array
    train_rows: jax.Array


def within_episodes(starts: np.ndarray, rows: np.ndarray, stride: int) -> np.ndarray:
    """The rows whose observation `stride` steps later is in the same episode.

    An episode's last observation precedes its last action, whose outcome is not
    recorded.

    Args:
      starts: [E + 1] int32, episode e is ``starts[e] : starts[e + 1]``.
      rows: [P] int32 transitions.
      stride: environment steps.
    """
    ends = starts[np.searchsorted(starts, rows, side="right")]
    return rows[rows < ends - stride]


def gather_pairs(observations, actions, rows, stride: int) -> PairBatch:
    """The pairs that start at `rows` [B], in the units of the arrays.

    The results are arrays of the same library, numpy or JAX, as the arguments.
    """
    return PairBatch(observations[rows], observations[rows + stride], actions[rows])


def change_scale(pairs: PairBatch, normalizer: Normalizer) -> np.ndarray:
    """[O] root mean square of s' - s in normalised units; 1 where nothing changes.

    Normalised states are of size 1, so a smaller change than rounding is none.
    """
    before = normalizer.normalize(pairs.observations)
    change = normalizer.normalize(pairs.next_observations) - before
    scale = np.sqrt(np.mean(np.square(change, dtype=np.float64), axis=0))
    return np.where(is_spread(scale, 1.0), scale, 1.0).astype(np.float32)


def _num_places(settings: Settings) -> int:
    """Components of a state that say where it lies.

    Raises:
      ConfigError: the environment's family has none.
    """
    if found := task_of(settings.environment.id).num_places:
        return found
    raise ConfigError(
        "config.inverse_dynamics.places: expected True, as no part of a state is known "
        f"to be a place in environment {settings.environment.id!r}, found False"
    )


def inverse_dynamics_stage(settings: Settings, dataset: OfflineDataset) -> Stage:
    """Inverse dynamics, by regression on the normalised actions.

    On the held-out episodes it logs the root mean square error of clipped predictions,
    per component of an action, in environment units.

    Raises:
      ConfigError: places are left out, and the family has none.
      DataError: no episode to train on is longer than the stride.
    """
    options = settings.inverse_dynamics
    episodes, stride = dataset.episodes, options.stride
    normalizers = dataset.observation_normalizer, dataset.action_normalizer
    train_rows, held_rows = (
        within_episodes(episodes.starts, rows, stride)
        for rows in split_episodes(
            episodes.starts, options.holdout_fraction, settings.dataset.seed
        )
    )
    if len(train_rows) == 0:
        raise DataError(
            dataset.name,
            expected=f"training episodes of more than {stride} steps "
            "(inverse_dynamics.stride)",
            found="none",
        )

    def sample(rows) -> PairBatch:
        rows = rows[:: -(-len(rows) // _BLOCK)]
        return gather_pairs(episodes.observations, episodes.actions, rows, stride)

    held = sample(held_rows if len(held_rows) else train_rows)
    scale = change_scale(sample(train_rows), dataset.observation_normalizer)
    metadata = {
        **base_metadata("inverse_dynamics", settings, dataset),
        "change_scale": scale.astype(float).tolist(),
        "num_hidden": 0 if options.places else _num_places(settings),
    }
    method = InverseDynamicsMethod.from_metadata(metadata)

    def gather(data: PairData, rows) -> PairBatch:
        rows = data.train_rows[rows]
        pairs = gather_pairs(data.observations, data.actions, rows, stride)
        observations, actions = normalizers
        return PairBatch(
            observations.normalize(pairs.observations),
            observations.normalize(pairs.next_observations),
            actions.normalize(pairs.actions),
        )

    @jax.jit
    def held_out_error(params, pairs):
        action_fn = method.action_fn(params, *normalizers)
        actions = action_fn(pairs.observations, pairs.next_observations)
        error = jnp.sqrt(jnp.mean(jnp.square(actions - pairs.actions)))
        return {"loss/held_out_rmse": error}

    return Stage(
        name="inverse_dynamics",
        method=method,
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        frozen={},
        data=PairData(episodes.observations, episodes.actions, train_rows),
        num_rows=len(train_rows),
        gather=gather,
        streaming=settings.dataset.streaming,
        metadata=metadata,
        probe=lambda state, _: held_out_error(state.ema_params, held),
    )
