"""Batches gathered on the host, for data larger than the device's memory.

The rows follow the law of the resident path, uniform with replacement, and depend on
the seed and the step alone, so a resumed run goes on with the batches that the
uninterrupted one would have had. Reading ahead is grain's work.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from ractd_jax.errors import ConfigError
from ractd_jax.training.stages.base import Stage

_THREADS, _AHEAD = 2, 4


def batches_of_call(
    stage: Stage, seed: int, first_step: int, num_steps: int, devices: int
) -> Any:
    """Leaves [devices, num_steps, ...]: batches of steps from `first_step` on."""
    per_device = stage.batch_size // devices
    shape = stage.rows_shape(per_device)

    def batch(step: int, device: int):
        rng = np.random.default_rng((seed, step, device))
        return stage.gather(stage.data, rng.integers(stage.num_rows, size=shape))

    steps = range(first_step, first_step + num_steps)
    drawn = [[batch(step, device) for step in steps] for device in range(devices)]
    return _stack([_stack(batches) for batches in drawn])


def _stack(trees: list) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def stream_batches(
    stage: Stage, seed: int, start: int, steps_per_call: int, devices: int
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
        lambda first: batches_of_call(stage, seed, int(first), steps_per_call, devices)
    )
    options = grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_AHEAD)
    return iter(calls.to_iter_dataset(options))
