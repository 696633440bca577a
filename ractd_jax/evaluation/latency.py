"""How long a planner takes from a numpy observation to a numpy action."""

from __future__ import annotations

import time

import jax
import numpy as np

from ractd_jax.planning import Planner


def plan_latency(planner: Planner, calls: int, batch_size: int = 1) -> dict[str, float]:
    """Seconds per call of ``planner.act``, host transfers included.

    The first call compiles and is not counted.

    Returns:
      ``p50``, ``p95`` and ``mean`` seconds over `calls` calls.
    """
    rng = np.random.default_rng(0)
    shape = (batch_size, planner.dims.observation)
    if planner.dims.history > 1:
        shape = (batch_size, planner.dims.history, planner.dims.observation)
    observations = rng.standard_normal(shape, np.float32)
    keys = jax.random.split(jax.random.key(0), calls)
    keys = [jax.block_until_ready(key) for key in keys]
    np.asarray(planner.act(observations, keys[0]))
    seconds = []
    for key in keys:
        start = time.perf_counter()
        np.asarray(planner.act(observations, key))
        seconds.append(time.perf_counter() - start)
    p50, p95 = np.quantile(seconds, (0.5, 0.95))
    return {"p50": float(p50), "p95": float(p95), "mean": float(np.mean(seconds))}
