"""One-step plans from weights kept, or computed with, in fewer bits.

  python -m benchmarks.precision --checkpoint=runs/demo/ractd

Each variant takes its weights as an argument, as no program may hold them decoded as
constants; the packed one (`Planner`, ``precision="bfloat16"``) does as planners do. How
far plans move is the largest difference over the range of the actions.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

import ractd_jax
from benchmarks.common import SMALL, made_up_dataset, random_planner, seconds_of
from ractd_jax.evaluation.latency import one_core
from ractd_jax.planning import Planner
from ractd_jax.settings import from_mapping

FLAGS = flags.FLAGS


class Int8(NamedTuple):
    """A kernel [..., in, out] as round(kernel / scale), the scale [out] by channel."""

    values: jax.Array
    scale: jax.Array


def _is_kernel(leaf) -> bool:
    return leaf.ndim >= 2


def to_bfloat16(weights: Any) -> Any:
    """Kernels in bfloat16, the rest as it is."""
    return jax.tree.map(
        lambda leaf: leaf.astype(jnp.bfloat16) if _is_kernel(leaf) else leaf, weights
    )


def to_int8(weights: Any) -> Any:
    """Kernels in int8, one scale for each output channel, the rest as it is."""

    def convert(leaf):
        if not _is_kernel(leaf):
            return leaf
        scale = jnp.abs(leaf).max(axis=tuple(range(leaf.ndim - 1))) / 127
        scale = jnp.where(scale > 0, scale, 1.0)
        return Int8(jnp.round(leaf / scale).astype(jnp.int8), scale)

    return jax.tree.map(convert, weights)


def decode(weights: Any) -> Any:
    """float32 of what :func:`to_bfloat16` and :func:`to_int8` give."""
    return jax.tree.map(
        lambda leaf: (
            leaf.values.astype(jnp.float32) * leaf.scale
            if isinstance(leaf, Int8)
            else leaf.astype(jnp.float32)
        ),
        weights,
        is_leaf=lambda leaf: isinstance(leaf, Int8),
    )


def with_bfloat16(planner: Planner) -> Planner:
    """The same student with bfloat16 activations."""
    settings = from_mapping({"network": {"dtype": "bfloat16"}}, planner.settings)
    normalizers = planner.observation_normalizer, planner.action_normalizer
    return Planner(
        settings, planner.dims, "student", planner.params, *normalizers, num_steps=1
    )


def with_packed_kernels(planner: Planner) -> Planner:
    """The same student with its own packed kernels (``precision="bfloat16"``)."""
    normalizers = planner.observation_normalizer, planner.action_normalizer
    return Planner(
        planner.settings,
        planner.dims,
        "student",
        planner.params,
        *normalizers,
        num_steps=1,
        precision="bfloat16",
    )


def precision_rows(planner: Planner, batches: tuple[int, ...], calls: int) -> dict:
    """Milliseconds by variant and batch, and the largest move of a plan.

    Args:
      planner: a student in float32.
      batches: batch sizes.
      calls: timed calls of a batch of 1; fewer of the others.
    """

    def decoded(convert: Callable[[Any], Any]):
        def plan(weights, observations, key):
            return planner.plan_fn(decode(weights), observations, key, False)

        return plan, convert(planner.weights)

    def plain(planner):
        return (lambda w, o, key: planner.plan_fn(w, o, key, False)), planner.weights

    packed = with_packed_kernels(planner)
    variants = {
        "float32": plain(planner),
        "bfloat16 activations": plain(with_bfloat16(planner)),
        "bfloat16 weights": decoded(to_bfloat16),
        "int8 weights": decoded(to_int8),
    }
    rng, key = np.random.default_rng(0), jax.random.key(0)
    low, high = (np.asarray(bound) for bound in planner.observation_normalizer)
    rows: dict[str, dict[str, float]] = {}
    exact = None
    calls_of = {
        name: functools.partial(jax.jit(function), weights)
        for name, (function, weights) in variants.items()
    }
    calls_of["packed bfloat16 kernels"] = packed.plan
    for name, call in calls_of.items():
        rows[name] = {}
        for batch in batches:
            size = (batch, planner.dims.observation)
            observations = rng.uniform(low, high, size).astype(np.float32)
            count = max(calls // batch, 10)
            seconds = seconds_of(lambda: call(observations, key), count)  # noqa: B023
            rows[name][f"batch_{batch}_ms"] = 1e3 * float(np.median(seconds))
        fixed = np.linspace(low, high, 64, dtype=np.float32)
        plans = planner.action_normalizer.normalize(np.asarray(call(fixed, key)))
        exact = plans if exact is None else exact
        rows[name]["largest_move"] = float(np.abs(plans - exact).max() / 2)
    return rows


def main(_):
    if FLAGS.checkpoint:
        planner = ractd_jax.load_planner(FLAGS.checkpoint)
    else:
        planner = random_planner(SMALL, made_up_dataset())
    with one_core():
        rows = precision_rows(planner, (1, 100), FLAGS.calls)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    flags.DEFINE_string("checkpoint", None, "Student of actions; else random weights.")
    flags.DEFINE_integer("calls", 1_000, "Timed plans at batch 1.", lower_bound=10)
    app.run(main)
