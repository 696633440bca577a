"""One-step plans at batch 1 against the memory's floor and PyTorch, and throughput.

A plan at batch 1 must read every weight once: the floor is the bytes of its float32
weights over the rate at which this machine reads memory, measured in the same run.
"""

from __future__ import annotations

import threading
import time

import jax
import numpy as np

from benchmarks.common import MEDIUM, PAPER, SMALL, random_planner, torch_is_here
from benchmarks.precision import with_packed_kernels
from ractd_jax.evaluation.latency import plan_seconds

_GIGABYTE = 2**30


def read_bandwidth(threads: int, repeats: int = 5) -> float:
    """Bytes per second of `threads` threads that read float32 once; the best of all."""
    blocks = np.array_split(np.ones(_GIGABYTE // 4, np.float32), threads)

    def measure() -> float:
        workers = [threading.Thread(target=np.max, args=(block,)) for block in blocks]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return _GIGABYTE / (time.perf_counter() - start)

    return max(measure() for _ in range(repeats))


def torch_seconds(widths, embed_dim: int, batch_size: int, calls: int) -> np.ndarray:
    """The same network's eager forward in PyTorch, tensors at hand."""
    import torch

    from benchmarks.torch_unet import TorchUNet

    network = TorchUNet(3, 11, widths, embed_dim, num_levels=2).eval()
    x, cond = torch.randn(batch_size, 16, 3), torch.randn(batch_size, 11)
    level, stop = torch.full((batch_size,), 80.0), torch.full((batch_size,), 0.02)
    seconds = []
    with torch.inference_mode():
        for _ in range(calls + 2):
            start = time.perf_counter()
            network(x, 250 * level.log(), cond, 250 * stop.log())
            seconds.append(time.perf_counter() - start)
    return np.array(seconds[2:])


def sampling_rows(dataset, cores: int, calls: int, with_paper: bool) -> dict:
    """Milliseconds of one-step plans by width, and what bounds them."""
    bandwidth = read_bandwidth(cores)
    rows = {"read_bandwidth_GB_s": bandwidth / 1e9}
    for widths in (SMALL, MEDIUM, PAPER) if with_paper else (SMALL, MEDIUM):
        few = max(calls // 20, 10) if widths == PAPER else calls
        planner = random_planner(widths, dataset)
        weights = sum(leaf.nbytes for leaf in jax.tree.leaves(planner.weights))
        found = {
            "weights_MB": weights / 1e6,
            "floor_ms": 1e3 * weights / bandwidth,
            "batch_1_ms": 1e3 * float(np.median(plan_seconds(planner, few))),
        }
        for batch in (100, 1_000) if widths != PAPER else (100,):
            seconds = np.median(plan_seconds(planner, max(few // 10, 3), batch))
            found[f"batch_{batch}_plans_per_s"] = batch / float(seconds)
        packed = with_packed_kernels(planner)
        found["batch_1_bfloat16_ms"] = 1e3 * float(np.median(plan_seconds(packed, few)))
        del packed
        embed_dim = planner.settings.network.embed_dim
        del planner
        if torch_is_here():
            seconds = torch_seconds(widths, embed_dim, 1, few)
            found["torch_batch_1_ms"] = 1e3 * float(np.median(seconds))
            found["times_torch"] = found["torch_batch_1_ms"] / found["batch_1_ms"]
            found["times_torch_bfloat16"] = (
                found["torch_batch_1_ms"] / found["batch_1_bfloat16_ms"]
            )
        found["times_floor"] = found["batch_1_ms"] / found["floor_ms"]
        found["times_floor_bfloat16"] = found["batch_1_bfloat16_ms"] / found["floor_ms"]
        rows[str(list(widths))] = found
    return rows
