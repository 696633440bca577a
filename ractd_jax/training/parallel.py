"""The only pmap: K optimiser steps in one compiled call over all devices.

Every process of a job runs the same calls, each on its own devices. A global batch is
drawn in the same way for any number of devices, and each replica takes its part.

`jax.pmap` is in maintenance mode; everything that depends on it is in this file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ractd_jax.errors import ConfigError
from ractd_jax.methods import Method
from ractd_jax.settings import Optimizer
from ractd_jax.storage.state import TrainState
from ractd_jax.training.state import ema_decay

AXIS = "devices"


class Part(NamedTuple):
    """Which part of the global batch a replica has.

    Attributes:
      index: number of the replica.
      count: number of replicas, one part each.
    """

    index: jax.typing.ArrayLike
    count: int

    def of(self, whole: jax.Array, axis: int = 0) -> jax.Array:
        """This part of an array whose `axis` is the global batch."""
        if self.count == 1:
            return whole
        size = whole.shape[axis] // self.count
        if isinstance(self.index, int):  # On the host, also of numpy arrays.
            items = slice(self.index * size, (self.index + 1) * size)
            return whole[(*[slice(None)] * axis, items)]
        return jax.lax.dynamic_slice_in_dim(whole, self.index * size, size, axis)

    def of_draws(self, draws: Any) -> Any:
        """This part of a method's draws; a key becomes one of the replica's own."""

        def take(leaf):
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                return jax.random.fold_in(leaf, self.index)
            return self.of(leaf)

        return jax.tree.map(take, draws)


WHOLE = Part(0, 1)

# (data, key, part) -> that part of a batch
SampleFn = Callable[[Any, jax.Array, Part], Any]


def _local_mesh(num_devices: int | None = None) -> Mesh:
    return Mesh(np.asarray(jax.local_devices()[:num_devices]), (AXIS,))


def _global_sharding() -> NamedSharding:
    return NamedSharding(Mesh(np.asarray(jax.devices()), (AXIS,)), PartitionSpec())


def replicate(tree: Any, num_devices: int | None = None) -> Any:
    """Places a tree on the local devices, so that no call copies it again.

    Args:
      tree: arrays.
      num_devices: how many devices, the first ones; by default all.
    """
    mesh = _local_mesh(num_devices)
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def split_over_devices(tree: Any, num_devices: int | None = None) -> Any:
    """Places leaves [local devices, ...] with one slice on each device."""
    mesh = _local_mesh(num_devices)
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(AXIS)))


def _placed(tree: Any, sharding: NamedSharding) -> Any:
    """The same buffers under another sharding; with one process, the tree itself."""
    if jax.process_count() == 1:
        return tree
    return jax.tree.map(
        lambda leaf: jax.make_array_from_single_device_arrays(
            leaf.shape, sharding, [shard.data for shard in leaf.addressable_shards]
        ),
        tree,
    )


def as_global(tree: Any) -> Any:
    """Arrays replicated in every process as global arrays, in order to save them."""
    return _placed(tree, _global_sharding())


def as_local(tree: Any) -> Any:
    """The inverse of :func:`as_global`."""
    return _placed(tree, NamedSharding(_local_mesh(), PartitionSpec()))


def global_template(shapes: Any) -> Any:
    """The shapes of a tree, placed as :func:`as_global` places it."""
    sharding = _global_sharding()
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
    )


def check_batch_size(batch_size: int, field: str) -> None:
    """Raises ConfigError when the global batch does not divide by the devices."""
    devices = jax.device_count()
    if batch_size % devices:
        raise ConfigError(
            f"config.{field}: expected a multiple of the {devices} devices, "
            f"found {batch_size}"
        )


def train_step(
    state: TrainState,
    frozen: Any,
    batch: Any,
    key: jax.Array,
    part: Part,
    *,
    method: Method,
    batch_size: int,
    optimizer: optax.GradientTransformation,
    settings: Optimizer,
    target_decay: float,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One optimiser step of a replica; several average their gradients over AXIS.

    Args:
      state: state of the training.
      frozen: parameters and numbers that the loss reads and does not train.
      batch: this replica's part of the batch.
      key: the same in all replicas.
      part: which part of the global batch is this replica's.
      method: what is trained.
      batch_size: size of the global batch.
      optimizer: optimiser of the parameters.
      settings: settings of the optimiser.
      target_decay: of the target parameters, if there are any.
    """
    draws = part.of_draws(method.draw(key, batch_size))
    grad_fn = jax.value_and_grad(method.loss, has_aux=True)
    (_, info), grads = grad_fn(state.params, state.target_params, frozen, batch, draws)
    if part.count > 1:
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


def scan_steps(
    state: TrainState,
    first: jax.Array,
    frozen: Any,
    data: Any,
    part: Part,
    *,
    steps_per_call: int,
    seed: jax.typing.ArrayLike,
    sample_fn: SampleFn | None,
    step_fn: Callable[..., tuple[TrainState, dict[str, jax.Array]]],
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Steps `first` to first + K - 1 of one replica: (state, means of the scalars)."""

    def body(state, step_and_batch):
        step, batch = step_and_batch
        key = jax.random.fold_in(jax.random.key(seed), step)
        if sample_fn is not None:
            sample_key, key = jax.random.split(key)
            batch = sample_fn(data, sample_key, part)
        return step_fn(state, frozen, batch, key, part)

    steps = first + jnp.arange(steps_per_call)
    batches = data if sample_fn is None else None
    state, infos = jax.lax.scan(body, state, (steps, batches))
    return state, jax.tree.map(jnp.mean, infos)


def make_train_call(
    *,
    steps_per_call: int,
    seed: int,
    sample_fn: SampleFn | None,
    **step_options: Any,
) -> Callable[[TrainState, Any, Any], tuple[TrainState, dict[str, jax.Array]]]:
    """The compiled call ``(state, frozen, data) -> (state, mean info)``.

    `data` is either what `sample_fn` draws each step's batch from, on every device, or,
    without a `sample_fn`, the batches themselves [local devices, K, ...], by
    :func:`split_over_devices`.

    Keys are derived, never carried: fold_in(key(seed), step), so that a resumed run
    draws what the uninterrupted one would have drawn, on any number of devices. The
    state is donated.

    Args:
      steps_per_call: K, steps under one scan.
      seed: seed of every draw.
      sample_fn: (data, key, part) -> that part of a batch.
      **step_options: see :func:`train_step`.
    """
    count = jax.device_count()

    def call(replica, state, frozen, data):
        return scan_steps(
            state,
            state.step,
            frozen,
            data,
            Part(replica, count),
            steps_per_call=steps_per_call,
            seed=seed,
            sample_fn=sample_fn,
            step_fn=functools.partial(train_step, **step_options),
        )

    p_call = jax.pmap(
        call,
        AXIS,
        in_axes=(0, None, None, None if sample_fn is not None else 0),
        out_axes=(None, None),
        donate_argnums=(1,),
    )
    # pmap gives each process its own rows; their numbers are over all processes.
    first = jax.process_index() * jax.local_device_count()
    replicas = split_over_devices(first + np.arange(jax.local_device_count()))
    return functools.partial(p_call, replicas)


def make_members_call(
    *,
    steps_per_call: int,
    num_devices: int,
    sample_fn: SampleFn,
    make_optimizer_fn: Callable[[jax.Array], optax.GradientTransformation],
    **step_options: Any,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """K steps of S x V trainings: ``(states, seeds, values, first, frozen, data)``.

    The leaves of `states` are [D, S / D, V, ...], the `seeds` [D, S / D], the leaves of
    `values` (``learning_rate``, and ``coefficients``, which replace those of `frozen`)
    [V]; `first`, the number of the next step, `frozen` and `data` are shared. Members
    with the same seed draw the same batches and noise. What depends on these alone,
    such as the teacher's solution, is computed once for all of them.

    Each member makes the steps that it would have made alone on one device. A member
    whose scalars or new parameters' norm are not finite stays at the state before them.

    Returns:
      (states, which are donated, and scalars [D, S / D, V] averaged over the steps).

    Args:
      steps_per_call: K.
      num_devices: D, local devices that share the seeds.
      sample_fn: (data, key, part) -> batch.
      make_optimizer_fn: learning rate -> optimiser.
      **step_options: see :func:`train_step`.
    """

    def member_steps(state, values, seed, first, frozen, data):
        if "coefficients" in values:
            frozen = frozen | {"coefficients": values["coefficients"]}
        optimizer = make_optimizer_fn(values["learning_rate"])

        def guarded(state, frozen, batch, key, part):
            state, step = state
            new, info = train_step(
                state, frozen, batch, key, part, optimizer=optimizer, **step_options
            )
            # A norm: a test of each leaf takes 1.6 times as long to compile.
            finite = jnp.isfinite(sum(info.values(), optax.global_norm(new.params)))
            keep = finite & (state.step == step)
            kept = jax.tree.map(lambda a, b: jnp.where(keep, a, b), new, state)
            return (kept, step + 1), info

        (state, _), infos = scan_steps(
            (state, first),
            first,
            frozen,
            data,
            WHOLE,
            steps_per_call=steps_per_call,
            seed=seed,
            sample_fn=sample_fn,
            step_fn=guarded,
        )
        return state, infos

    of_values = jax.vmap(member_steps, in_axes=(0, 0, None, None, None, None))
    of_seeds = jax.vmap(of_values, in_axes=(0, None, 0, None, None, None))

    def call(states, seeds, values, first, frozen, data):
        return of_seeds(states, values, seeds, first, frozen, data)

    return jax.pmap(
        call,
        AXIS,
        in_axes=(0, 0, None, None, None, None),
        devices=jax.local_devices()[:num_devices],
        donate_argnums=(0,),
    )
