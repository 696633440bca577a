"""A planner's network for one batch size on a CPU, with packed bfloat16 kernels.

See :class:`ractd_jax.networks.packing.Packing`. The form depends on the batch size:
few rows need a kernel that is read once, many rows one undivided product.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ractd_jax.dimensions import Dimensions
from ractd_jax.methods import DenoiserNetwork
from ractd_jax.networks import Conv
from ractd_jax.networks.packing import LEAST_THIN_INPUTS

# Thin products become vectors only where sums may be reordered.
COMPILER_OPTIONS = {
    "xla_cpu_enable_fast_math": True,
    "xla_cpu_prefer_vector_width": 512,
}


@functools.cache
def is_supported() -> bool:
    """Whether this is a CPU whose compiler knows the options."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda x: x, compiler_options=COMPILER_OPTIONS).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # Options are no stable interface of XLA.
        return False
    return True


def _has_large_kernels(params: Any) -> bool:
    kernels = [leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim == 3]
    return any(taps * inputs >= LEAST_THIN_INPUTS for taps, inputs, _ in kernels)


def packed_network(
    network: DenoiserNetwork, params: Any, dims: Dimensions, batch_size: int
) -> tuple[DenoiserNetwork, Any] | None:
    """The network with its kernels packed for one batch size.

    Args:
      network: the network.
      params: its parameters at fixed noise levels (`CtmStudent.fold`).
      dims: sizes of its plans.
      batch_size: B.

    Returns:
      The network and its parameters, or None when nothing would be packed.
    """
    if batch_size == 1 and not _has_large_kernels(params):
        return None  # Saves tracing, a third of a second.
    compute = dataclasses.replace(network.config.compute, conv="packed")
    packed = type(network)(dataclasses.replace(network.config, compute=compute))
    packings = {}

    def record(call, args, kwargs, context):
        if isinstance(context.module, Conv) and context.method_name == "__call__":
            packings[context.module.path] = context.module.packing(args[0].shape)
        return call(*args, **kwargs)

    x = jnp.zeros((batch_size, *dims.plan_shape))
    condition = jnp.zeros((batch_size, dims.condition))
    with nn.intercept_methods(record):
        jax.eval_shape(network.apply, {"params": params}, x, None, condition)
    packings = {path: packing for path, packing in packings.items() if packing.form}
    if not packings:
        return None

    def pack(layer, path):
        if path in packings:
            return layer | {"kernel": packings[path].pack(layer["kernel"])}
        if not isinstance(layer, dict):
            return layer
        return {name: pack(below, (*path, name)) for name, below in layer.items()}

    return packed, pack(params, ())
