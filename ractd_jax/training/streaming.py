"""Batches gathered on the host, for data larger than the device's memory.

Rows are drawn as for data on the device, uniformly with replacement, and depend only on
the seed and the step, so that a resumed run has the batches of an uninterrupted one.
grain reads ahead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from ractd_jax.errors import ConfigError
from ractd_jax.training.parallel import Part
from ractd_jax.training.stages.base import Stage, gather_part

_THREADS, _AHEAD = 2, 4


def batches_of_call(
    stage: Stage,
    seed: int,
    first_step: int,
    num_steps: int,
    parts: Sequence[Part] | None = None,
) -> Any:
    """Leaves [parts, num_steps, ...]: batches of steps from `first_step` on.

    Args:
      stage: the stage that trains.
      seed: seed of the rows.
      first_step: first step of the call.
      num_steps: K.
      parts: parts of the global batch; by default those of this process's devices.
    """
    if parts is None:
        first = jax.process_index() * jax.local_device_count()
        own = range(first, first + jax.local_device_count())
        parts = [Part(index, jax.device_count()) for index in own]
    shape = stage.rows_shape(stage.batch_size)

    def batches(step: int) -> list:
        rng = np.random.default_rng((seed, step))
        rows = rng.integers(stage.num_rows, size=shape)
        return [gather_part(stage, stage.data, rows, part) for part in parts]

    steps = [batches(step) for step in range(first_step, first_step + num_steps)]
    return _stack([_stack(list(of_part)) for of_part in zip(*steps, strict=True)])


def _stack(trees: list) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def stream_batches(
    stage: Stage, seed: int, start: int, steps_per_call: int
) -> Iterator[Any]:
    """Yields the batches of each call from step `start` to the stage's last.

    Raises:
      ConfigError: grain is not installed.
    """
    try:
        import grain
    except ImportError:
        raise ConfigError(
            "config.dataset.streaming: expected the grain package "
            "(pip install ractd_jax[stream]), found none"
        ) from None
    firsts = grain.MapDataset.range(start, stage.num_steps, steps_per_call)
    calls = firsts.map(
        lambda first: batches_of_call(stage, seed, int(first), steps_per_call)
    )
    options = grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_AHEAD)
    return iter(calls.to_iter_dataset(options))
