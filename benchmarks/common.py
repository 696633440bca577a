"""What the benchmarks share: the machine, made-up data, random networks, a clock.

Random weights and made-up episodes change nothing of what is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec

import jax
import numpy as np

from ractd_jax.data.changes import plan_changes
from ractd_jax.data.episodes import build_episodes
from ractd_jax.data.sources import OfflineDataset, make_dataset
from ractd_jax.methods import PLAN_METHODS, RewardEnsemble
from ractd_jax.planning import Planner
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.training import parallel, stages
from ractd_jax.training.loop import make_sample_fn
from ractd_jax.training.stages import Stage
from ractd_jax.training.state import create_state, make_optimizer

SMALL, MEDIUM, PAPER = (32, 64, 128), (64, 128, 256), (512, 1024, 2048)
_STEPS_PER_CALL = 10


def torch_is_here() -> bool:
    return find_spec("torch") is not None


def seconds_of(function: Callable[[], object], calls: int, warm: int = 2) -> np.ndarray:
    """Seconds of each of `calls` calls, after `warm` ones that are not counted."""
    for _ in range(warm):
        jax.block_until_ready(function())
    seconds = np.empty(calls)
    for i in range(calls):
        start = time.perf_counter()
        jax.block_until_ready(function())
        seconds[i] = time.perf_counter() - start
    return seconds


def made_up_dataset(observation: int = 11, action: int = 3) -> OfflineDataset:
    """Episodes of Hopper's shape, O = 11, A = 3, or of another."""
    rng = np.random.default_rng(0)
    size = 20_000
    timeouts = np.arange(1, size + 1) % 500 == 0
    episodes = build_episodes(
        {
            "observations": rng.standard_normal((size, observation)),
            "actions": rng.uniform(-1, 1, (size, action)),
            "rewards": rng.standard_normal(size),
            "terminals": np.zeros(size, bool),
            "timeouts": timeouts,
        },
        "benchmark",
    )
    return make_dataset("benchmark", episodes)


def settings_for(widths, batch_size: int = 256, **network) -> Settings:
    """Settings of a network of `widths`; Duan et al.'s has their embedding."""
    embed_dim = 128 if tuple(widths) == PAPER else 32
    network = {"widths": widths, "embed_dim": embed_dim, **network}
    return from_mapping(
        {
            "network": network,
            "teacher": {"batch_size": batch_size},
            "student": {"batch_size": batch_size, "reward_weight": 0.0},
        }
    )


def random_planner(
    widths,
    dataset: OfflineDataset,
    stage: str = "student",
    num_steps: int = 1,
    **network,
) -> Planner:
    """A planner with random weights, its U-Net of `widths`."""
    return planner_of(settings_for(widths, **network), dataset, stage, num_steps)


def planner_of(
    settings: Settings,
    dataset: OfflineDataset,
    stage: str,
    num_steps: int,
    num_candidates: int = 1,
) -> Planner:
    """A planner of these settings with random weights, its reward models' too."""
    dims = stages.dimensions(settings, dataset)
    method = PLAN_METHODS[stage].from_settings(settings, dims)
    params = jax.jit(method.init)(jax.random.key(0))
    normalizers = dataset.observation_normalizer, dataset.action_normalizer
    rate = None
    if num_candidates > 1:
        reward = RewardEnsemble.from_settings(settings, dims)
        rate = reward.plan_return_fn(jax.jit(reward.init)(jax.random.key(1)), 4.0)
    return Planner(
        settings,
        dims,
        stage,
        params,
        *normalizers,
        num_steps=num_steps,
        plan_return_fn=rate,
        num_candidates=num_candidates,
        temperature=settings.evaluation.temperature,
        changes=plan_changes(dataset.episodes, normalizers[0], settings.plan),
    )


def training_call(stage: Stage) -> Callable[[], object]:
    """A call that makes ten optimiser steps of a stage, as training makes them."""
    optimizer = make_optimizer(stage.optimizer, stage.num_steps)
    call = parallel.make_train_call(
        steps_per_call=_STEPS_PER_CALL,
        seed=0,
        sample_fn=make_sample_fn(stage),
        method=stage.method,
        batch_size=stage.batch_size,
        optimizer=optimizer,
        settings=stage.optimizer,
        target_decay=stage.target_decay or 0.0,
    )
    params = jax.jit(stage.init_params)(jax.random.key(0))
    has_target = stage.target_decay is not None
    state = parallel.replicate(create_state(params, optimizer, has_target))
    held = {"state": state, "frozen": parallel.replicate(stage.frozen)}
    data = parallel.replicate(stage.data)

    def run():
        held["state"], info = call(held["state"], held["frozen"], data)
        return info

    return run


def step_seconds(stage: Stage, calls: int) -> float:
    """Median seconds of an optimiser step."""
    return float(np.median(seconds_of(training_call(stage), calls))) / _STEPS_PER_CALL
