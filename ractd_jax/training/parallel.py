"""The only pmap: K optimiser steps in one compiled call over all local devices.

`jax.pmap` is in maintenance mode; everything that depends on it is in this file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ractd_jax.errors import ConfigError
from ractd_jax.settings import Optimizer
from ractd_jax.training.state import TrainState, ema_decay

AXIS = "devices"

# loss_fn(params, target_params, frozen, batch, key) -> (loss, info)
LossFn = Callable[..., tuple[jax.Array, dict[str, jax.Array]]]


def mesh() -> Mesh:
    return Mesh(np.asarray(jax.local_devices()), (AXIS,))


def replicate(tree: Any) -> Any:
    """Places a tree on every device, so that no call copies it again."""
    return jax.device_put(tree, NamedSharding(mesh(), PartitionSpec()))


def split_over_devices(tree: Any) -> Any:
    """Places leaves [devices, ...] with one slice on each device."""
    return jax.device_put(tree, NamedSharding(mesh(), PartitionSpec(AXIS)))


def replicated_template(shapes: Any) -> Any:
    """The shapes of a tree, placed as :func:`replicate` would place it."""
    sharding = NamedSharding(mesh(), PartitionSpec())
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
    )


def per_device_batch(batch_size: int, field: str) -> int:
    """Splits the global batch.

    Raises:
      ConfigError: it does not divide by the number of devices.
    """
    devices = jax.local_device_count()
    if batch_size % devices:
        raise ConfigError(
            f"config.{field}: expected a multiple of the {devices} devices, "
            f"found {batch_size}"
        )
    return batch_size // devices


def train_step(
    state: TrainState,
    frozen: Any,
    batch: Any,
    key: jax.Array,
    *,
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    settings: Optimizer,
    target_decay: float,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One optimiser step of one replica; gradients are averaged over AXIS."""
    grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
    (_, info), grads = grad_fn(state.params, state.target_params, frozen, batch, key)
    grads, info = jax.lax.pmean((grads, info), AXIS)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema_params = optax.incremental_update(
        params, state.ema_params, 1.0 - ema_decay(state.step, settings)
    )
    target_params = state.target_params
    if target_params is not None:
        target_params = optax.incremental_update(
            params, target_params, 1.0 - target_decay
        )
    info["grad/norm"] = optax.global_norm(grads)
    new = TrainState(state.step + 1, params, ema_params, target_params, opt_state)
    return new, info


def make_train_call(
    *,
    steps_per_call: int,
    seed: int,
    sample_fn: Callable[[Any, jax.Array], Any] | None,
    **step_options: Any,
) -> Callable[[TrainState, Any, Any], tuple[TrainState, dict[str, jax.Array]]]:
    """The compiled call ``(state, frozen, data) -> (state, mean info)``.

    `data` is either what `sample_fn` draws each step's batch from, on every device, or,
    without a `sample_fn`, the batches themselves [devices, K, ...], by
    :func:`split_over_devices`.

    Keys are derived, never carried: fold_in(fold_in(key(seed), step), replica), so
    that a resumed run draws what the uninterrupted one would have drawn. The state
    is donated.

    Args:
      steps_per_call: K, steps under one scan.
      seed: seed of every draw.
      sample_fn: (data, key) -> batch of one replica.
      **step_options: see :func:`train_step`.
    """
    step_fn = functools.partial(train_step, **step_options)

    def call(replica, state, frozen, data):
        def body(state, batch):
            key = jax.random.fold_in(jax.random.key(seed), state.step)
            key = jax.random.fold_in(key, replica)
            if sample_fn is not None:
                sample_key, key = jax.random.split(key)
                batch = sample_fn(data, sample_key)
            return step_fn(state, frozen, batch, key)

        batches = data if sample_fn is None else None
        state, infos = jax.lax.scan(body, state, batches, length=steps_per_call)
        return state, jax.tree.map(jnp.mean, infos)

    p_call = jax.pmap(
        call,
        AXIS,
        in_axes=(0, None, None, None if sample_fn is not None else 0),
        out_axes=(None, None),
        donate_argnums=(1,),
    )
    replicas = jax.device_put(
        np.arange(jax.local_device_count()), NamedSharding(mesh(), PartitionSpec(AXIS))
    )
    return functools.partial(p_call, replicas)
