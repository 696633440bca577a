"""Closed-loop evaluation against the bare stepping of the same environments."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.precision import with_packed_kernels
from ractd_jax.evaluation.rollout import (
    ClosedLoop,
    EpisodeKeys,
    evaluate_planner,
    run_episodes,
)
from ractd_jax.planning import Planner
from ractd_jax.settings import Environment
from ractd_jax.tasks.environments import make_environment


class _Recorder:
    """A policy that remembers what it did."""

    def __init__(self, policy):
        self._policy = policy
        self.actions: list[np.ndarray] = []

    @property
    def compile_seconds(self) -> float:
        return self._policy.compile_seconds

    def act(self, observations, episodes, step):
        self.actions.append(self._policy.act(observations, episodes, step))
        return self.actions[-1]


def raw_steps_per_second(environment, num_episodes, seed, actions) -> float:
    """Environment steps per second of replaying `actions`, and nothing else."""
    envs = [make_environment(environment) for _ in range(num_episodes)]
    for episode, env in enumerate(envs):
        env.reset(seed=seed + episode)
    steps, begin = 0, time.perf_counter()
    for step_actions in actions:
        outcomes = [e.step(a) for e, a in zip(envs, step_actions, strict=True)]
        steps += len(envs)
        ended = [terminated or cut for _, _, terminated, cut, _ in outcomes]
        envs = [env for env, done in zip(envs, ended, strict=True) if not done]
    return steps / (time.perf_counter() - begin)


def evaluation_rows(
    planner: Planner,
    environment_id: str,
    num_episodes: int,
    seed: int = 0,
    num_workers: int = 2,
) -> dict:
    """Steps per second of an evaluation, of its environments alone, and the share.

    The environments alone step in this process; the evaluation is measured
    with its environments in `num_workers` processes, and in this one; and in
    `num_workers` processes with packed bfloat16 kernels.
    """
    environment = Environment(environment_id)
    keys = EpisodeKeys(num_episodes, seed, "each_step")
    recorder = _Recorder(ClosedLoop(planner, keys))
    seeds = seed + np.arange(num_episodes)
    alone = run_episodes(recorder, planner.dims, environment, seeds)
    shared = evaluate_planner(
        planner, environment, num_episodes, seed, num_workers=num_workers
    )
    packed = evaluate_planner(
        with_packed_kernels(planner),
        environment,
        num_episodes,
        seed,
        num_workers=num_workers,
    )
    raw = raw_steps_per_second(environment, num_episodes, seed, recorder.actions)
    return {
        "evaluation_steps_per_s": shared.steps_per_second,
        "one_process_steps_per_s": alone.steps_per_second,
        "raw_steps_per_s": raw,
        "share_of_raw": shared.steps_per_second / raw,
        "bfloat16_steps_per_s": packed.steps_per_second,
        "bfloat16_share_of_raw": packed.steps_per_second / raw,
        "num_workers": num_workers,
        "env_steps": int(alone.lengths.sum()),
    }
