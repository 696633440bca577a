"""How long a planner takes from a numpy observation to a numpy action."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import jax
import numpy as np

from ractd_jax.planning import Planner


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Keeps every thread of this process on one core, where the system can (Linux).

    A small plan gains nothing from a second core, and on one core the hand-over between
    threads is faster and more even. Run a control loop like that (``taskset -c 0``).
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)

    def pin(cores):
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):  # one that has ended meanwhile
                os.sched_setaffinity(int(thread), cores)

    try:
        pin({min(before)})
        yield
    finally:
        pin(before)


def plan_seconds(planner: Planner, calls: int, batch_size: int = 1) -> np.ndarray:
    """[calls] seconds of ``planner.act``, host transfers included.

    For a planner of states, ``planner.plan`` is timed. The first call compiles and is
    not counted.
    """
    rng = np.random.default_rng(0)
    act = planner.plan if planner.dims.plans_states else planner.act
    shape = (batch_size, *planner.dims.observation_shape)
    observations = rng.standard_normal(shape, np.float32)
    keys = jax.random.split(jax.random.key(0), calls)
    keys = [jax.block_until_ready(key) for key in keys]
    np.asarray(act(observations, keys[0]))
    seconds = []
    for key in keys:
        start = time.perf_counter()
        np.asarray(act(observations, key))
        seconds.append(time.perf_counter() - start)
    return np.array(seconds)


def plan_latency(planner: Planner, calls: int, batch_size: int = 1) -> dict[str, float]:
    """``p50``, ``p95`` and ``mean`` of :func:`plan_seconds`."""
    seconds = plan_seconds(planner, calls, batch_size)
    p50, p95 = np.quantile(seconds, (0.5, 0.95))
    return {"p50": float(p50), "p95": float(p95), "mean": float(np.mean(seconds))}
