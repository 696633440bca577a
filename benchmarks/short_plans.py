"""The `cpu` preset of locomotion: a residual MLP over short plans, in one run.

Planning, optimiser steps beside PyTorch's, and what its trainings take. Everything is
as ``configs/hopper_medium_expert.py:cpu`` has it, on made-up episodes and with random
weights, which change nothing of what is timed.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import planner_of, seconds_of, step_seconds, torch_is_here
from benchmarks.latency import statistics
from benchmarks.training import few_steps
from configs import hopper_medium_expert
from ractd_jax import methods
from ractd_jax.data.sources import OfflineDataset, make_dataset, resolve_sigma_data
from ractd_jax.evaluation.latency import one_core, plan_seconds
from ractd_jax.planning import Planner
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.training import stages
from ractd_jax.training.loop import train

_TEACHER_STEPS = 79
# Few: they are solved before the training, and do not change its steps.
_NUM_PATHS = 4_096


def cpu_preset(dataset: OfflineDataset) -> tuple[Settings, OfflineDataset]:
    """The preset with sigma_data measured, and the data normalised as it asks for."""
    settings = from_mapping(hopper_medium_expert.get_config("cpu").to_dict())
    settings = from_mapping({"student": {"num_paths": _NUM_PATHS}}, settings)
    normalizer = settings.dataset.observation_normalizer
    dataset = make_dataset(
        dataset.name, dataset.episodes, observation_normalizer=normalizer
    )
    return resolve_sigma_data(settings, dataset), dataset


def bare_ms(planner: Planner, calls: int) -> float:
    """Median milliseconds of the planner's compiled program alone, at batch 1.

    From arrays on the device to a result that is ready there: what is left of
    ``planner.act`` without its checks and its copies from and to numpy.
    """

    @jax.jit
    def act(observations, key):
        return planner.plan_fn(planner.weights, observations, key, True)

    return _median_ms(act, planner, calls)


def empty_ms(planner: Planner, calls: int) -> float:
    """:func:`bare_ms` of a program of these arguments that adds 1: the call itself."""
    act = jax.jit(lambda observations, key: observations + 1.0, keep_unused=True)
    return _median_ms(act, planner, calls)


def _median_ms(act, planner, calls):
    observations = jnp.zeros((1, planner.dims.observation))
    key = jax.random.key(0)
    return 1e3 * float(np.median(seconds_of(lambda: act(observations, key), calls)))


def planning_rows(settings: Settings, dataset: OfflineDataset, calls: int) -> dict:
    """Milliseconds of plans: batch 1 on one core, larger batches on all of them."""
    student = planner_of(settings, dataset, "student", 1)
    teacher = planner_of(settings, dataset, "teacher", _TEACHER_STEPS)
    few = max(calls // 10, 5)
    with one_core():
        one = statistics(plan_seconds(student, calls))
        many = statistics(plan_seconds(teacher, few))
        bare_one, bare_many = bare_ms(student, calls), bare_ms(teacher, few)
        empty = empty_ms(student, calls)
    rows = {
        "one step, batch 1": one,
        f"teacher, {_TEACHER_STEPS} steps, batch 1": many,
        "one step, batch 1, bare": {
            "p50_ms": bare_one,
            "empty_call_ms": empty,
            "handling_share": 1.0 - bare_one / one["p50_ms"],
            "empty_call_share": empty / one["p50_ms"],
        },
        f"teacher, {_TEACHER_STEPS} steps, batch 1, bare": {"p50_ms": bare_many},
        "teacher_to_one_step": many["p50_ms"] / one["p50_ms"],
        "teacher_to_one_step_bare": bare_many / bare_one,
    }
    for batch in (100, 1_000):
        seconds = float(np.median(plan_seconds(student, few, batch)))
        rows[f"one step, batch {batch}"] = {
            "p50_ms": 1e3 * seconds,
            "plans_per_s": batch / seconds,
        }
    return rows


def make_stages(settings: Settings, dataset: OfflineDataset, folder: Path) -> dict:
    """Name -> stage; students build on a teacher and a reward model of two steps."""

    def workdir(name):
        short = few_steps(settings, name)
        stage = stages.make_stage(name, short, dataset)
        train(stage, short.run, 0, folder / name)
        return str(folder / name)

    teacher = workdir("teacher")
    reward = workdir("reward")
    ctd = from_mapping({"student": {"reward_weight": 0.0}}, settings)
    return {
        "teacher": stages.plan_stage("teacher", settings, dataset),
        "reward": stages.reward_stage(settings, dataset),
        "ctd": stages.student_stage(ctd, dataset, teacher, None),
        "ractd": stages.student_stage(settings, dataset, teacher, reward),
    }


def step_rows(
    settings: Settings, dataset: OfflineDataset, folder: Path, calls: int
) -> dict:
    """Seconds of the stages' steps, PyTorch's, and of the whole trainings.

    A training is its steps alone, without compilation, checkpoints, log lines and the
    solution of the student's paths.

    Args:
      settings: of the stages.
      dataset: made up.
      folder: an empty one, for the models that the students build on.
      calls: timed calls of ten steps.
    """
    rows, trainings = {}, {}
    for name, stage in make_stages(settings, dataset, folder).items():
        # A reward step is five members', and takes the longest.
        seconds = step_seconds(stage, calls if name != "reward" else -(-calls // 4))
        trainings[f"{name}_s"] = stage.num_steps * seconds
        rows[f"{name} step"] = {"batch_size": stage.batch_size, "step_s": seconds}
    rows["ctd step"]["path_batch_size"] = settings.student.path_batch_size
    together = sum(trainings[f"{name}_s"] for name in ("teacher", "reward", "ractd"))
    rows["trainings"] = trainings | {"teacher_reward_ractd_minutes": together / 60}
    if torch_is_here():
        _add_torch(rows, settings, dataset, 10 * calls)
    return rows


def _add_torch(rows: dict, settings: Settings, dataset: OfflineDataset, calls: int):
    from benchmarks.torch_mlp import torch_step_seconds

    dims = stages.dimensions(settings, dataset)
    config = methods.make_network(settings.network, dims).config
    for name, stage in (("teacher", "teacher"), ("ctd", "student")):
        row = rows[f"{name} step"]
        row["torch_step_s"] = torch_step_seconds(settings, config, stage, calls)
        row["times_torch"] = row["torch_step_s"] / row["step_s"]


def short_plan_rows(
    dataset: OfflineDataset, folder: Path, calls: int, step_calls: int
) -> dict:
    """Everything about the `cpu` preset's networks.

    Args:
      dataset: made up.
      folder: an empty one.
      calls: timed plans at batch 1.
      step_calls: timed calls of ten steps of a U-Net; of these, four times as many.
    """
    settings, dataset = cpu_preset(dataset)
    about = settings.network.mlp_width, settings.plan.horizon
    return {
        "network": {"width": about[0], "horizon": about[1]},
        **planning_rows(settings, dataset, calls),
        **step_rows(settings, dataset, folder, 4 * step_calls),
    }
