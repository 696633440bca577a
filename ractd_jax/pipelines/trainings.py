"""The trainings that pipelines are made of, and what runs them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from absl import logging

from ractd_jax.data.minari_store import has_minari, num_transitions
from ractd_jax.data.sources import OfflineDataset
from ractd_jax.errors import ConfigError
from ractd_jax.recording.generate import dataset_id, generate_dataset
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.training.loop import train
from ractd_jax.training.stages import Stage, make_stage, steering_stage, student_stage


class Training(NamedTuple):
    """One training of a pipeline.

    Attributes:
      stage: (settings, dataset, workdir of the pipeline) -> stage.
      changes: section -> option -> value, in place of the config's.
      needs: trainings that must come first.
    """

    stage: Callable[[Settings, OfflineDataset, Path], Stage]
    changes: Mapping[str, Mapping[str, object]] = {}
    needs: tuple[str, ...] = ()


def _alone(name: str):
    """A stage that builds on no other."""
    return lambda settings, dataset, workdir: make_stage(name, settings, dataset)


def _ctd(teacher: str):
    """The CTD ablation: the same student without the reward term."""

    def stage(settings, dataset, workdir):
        student = dataclasses.replace(settings.student, reward_weight=0.0)
        settings = dataclasses.replace(settings, student=student)
        return student_stage(settings, dataset, workdir / teacher, None)

    return stage


def _ractd(settings, dataset, workdir):
    teacher, reward = workdir / "teacher", workdir / "reward"
    return student_stage(settings, dataset, teacher, reward)


def _scaled_ractd(factor: float):
    """RACTD with `factor` times its reward weight."""

    def stage(settings, dataset, workdir):
        weight = factor * settings.student.reward_weight
        settings = from_mapping({"student": {"reward_weight": weight}}, settings)
        return _ractd(settings, dataset, workdir)

    return stage


class Limits(NamedTuple):
    """How far a reward may pull a student.

    Attributes:
      weight: of the reward term, in units of the spread.
      cap: predicted gain over the data's own action, in the same units.
      reach: distance that noise is moved.
    """

    weight: float
    cap: float
    reach: float


# Of a mixture a value says first of all who acted: little is asked of it. On one
# policy's data it is what an action brings (docs/notes/rewards.md).
_ONE_POLICY = Limits(weight=1.0, cap=2.0, reach=1.5)
_MIXTURE = Limits(weight=0.3, cap=0.3, reach=0.3)


def reward_limits(settings: Settings) -> Limits:
    """By the task's data: of one policy or of a mixture."""
    return _ONE_POLICY if settings.task.endswith("-medium") else _MIXTURE


def _by_critic(stage, critic: str):
    """The same stage on windows weighted by the advantages of a critic."""

    def weighted(settings, dataset, workdir):
        changes = {"dataset": {"critic": str(workdir / critic)}}
        return stage(from_mapping(changes, settings), dataset, workdir)

    return weighted


def _second_phase(reward: str):
    """A student that goes on from CTD, with the reward term of these models."""

    def stage(settings, dataset, workdir):
        limits = reward_limits(settings)
        if settings.student.reward_weight:
            changes = {"reward_weight": limits.weight, "advantage_cap": limits.cap}
            settings = from_mapping({"student": changes}, settings)
        return student_stage(
            settings, dataset, workdir / "teacher", workdir / reward, workdir / "ctd"
        )

    return stage


def _steering(reward: str):
    def stage(settings, dataset, workdir):
        reach = reward_limits(settings).reach
        settings = from_mapping({"steering": {"reach": reach}}, settings)
        return steering_stage(settings, dataset, workdir / "ctd", workdir / reward)

    return stage


# For the range of weights around a preset's own, as it is used.
WEIGHT_FACTORS = (0.5, 2.0)
# For the sweep over weights: the reward term on one-step samples, where it acts most.
REWARD_WEIGHTS = (1.0, 3.0, 10.0, 30.0)
_FELT = {"reward_input": "one_step", "reward_temperature": 0.0}
# Of IQL's policy: on a development seed of hopper-medium-replay the presets' 2 and 20
# scored 24, these 100 (docs/notes/rewards.md).
_IQL_WEIGHTS = {"advantage_beta": 6.0, "advantage_clip": 100.0}
_UNIFORM = {"dataset": {"weighting": "uniform"}}
# Ways to commit to one mode of all windows, beside choosing among the windows.
_COMMITMENTS = {
    "history": {**_UNIFORM, "plan": {"history": 4}},
    "rank": {**_UNIFORM, "plan": {"return_condition": True}},
}

TRAININGS: dict[str, Training] = {
    "teacher": Training(_alone("teacher")),
    "reward": Training(_alone("reward")),
    "ctd": Training(_ctd("teacher"), needs=("teacher",)),
    "ractd": Training(_ractd, needs=("teacher", "reward")),
    "ddpm": Training(_alone("ddpm")),
    "inverse_dynamics": Training(_alone("inverse_dynamics")),
    "bc": Training(_alone("bc"), _UNIFORM),
    "bc_top": Training(_alone("bc"), {"dataset": {"weighting": "top"}}),
    "teacher_uniform": Training(_alone("teacher"), _UNIFORM),
    "ctd_uniform": Training(_ctd("teacher_uniform"), _UNIFORM, ("teacher_uniform",)),
}
for _name, _changes in _COMMITMENTS.items():
    TRAININGS[f"teacher_{_name}"] = Training(_alone("teacher"), _changes)
    TRAININGS[f"ctd_{_name}"] = Training(
        _ctd(f"teacher_{_name}"), _changes, (f"teacher_{_name}",)
    )
# Reward models and critics, and the uses of each.
REWARDS = {"rtg": "reward", "sarsa": "critic_sarsa", "iql": "critic_iql"}
# A second phase from CTD: the reward term, on one-step samples of every temperature or
# on the DSM branch, in units of the return's spread over one state's plans.
_GRADIENT = {
    "num_steps": 1_500,
    "reward_temperature": 0.0,
    "reward_unit": "spread",
    "reward_gradient_clip": 10.0,
    "pessimism": 4.0,
}
_DISTILLED = {
    "num_steps": 1_500,
    "reward_weight": 0.0,
    "path_candidates": 16,
    "candidate_temperature": 0.3,
    "pessimism": 4.0,
}
for _target in ("iql", "sarsa"):
    TRAININGS[f"critic_{_target}"] = Training(
        _alone("critic"), {"critic": {"target": _target}}
    )
    TRAININGS[f"teacher_{_target}"] = Training(
        _by_critic(_alone("teacher"), f"critic_{_target}"),
        needs=(f"critic_{_target}",),
    )
    TRAININGS[f"ctd_{_target}"] = Training(
        _by_critic(_ctd(f"teacher_{_target}"), f"critic_{_target}"),
        needs=(f"teacher_{_target}",),
    )
TRAININGS["iql"] = Training(
    _by_critic(_alone("bc"), "critic_iql"),
    {"dataset": {"weighting": "advantage", **_IQL_WEIGHTS}},
    ("critic_iql",),
)
TRAININGS["td3_bc"] = Training(_alone("td3_bc"))
for _name, _model in REWARDS.items():
    _needs = ("ctd", _model)
    # The DSM branch has noise of every level, and no temperature.
    for _use, _input in (
        ("gradient", {"reward_input": "one_step"}),
        ("gradient_dsm", {"reward_input": "dsm", "reward_temperature": 1.0}),
    ):
        _options = {"student": _GRADIENT | _input}
        TRAININGS[f"{_use}_{_name}"] = Training(_second_phase(_model), _options, _needs)
    TRAININGS[f"distilled_{_name}"] = Training(
        _second_phase(_model), {"student": _DISTILLED}, _needs
    )
    TRAININGS[f"steering_{_name}"] = Training(
        _steering(_model), {"student": {"pessimism": 4.0}}, _needs
    )
for _factor in WEIGHT_FACTORS:
    TRAININGS[f"ractd_times_{_factor:g}"] = Training(
        _scaled_ractd(_factor), needs=("teacher", "reward")
    )
for _weight in REWARD_WEIGHTS:
    TRAININGS[f"ractd_weight_{_weight:g}"] = Training(
        _ractd,
        {"student": {"reward_weight": _weight, **_FELT}},
        ("teacher", "reward"),
    )


def prepare_dataset(settings: Settings, workdir: Path) -> Settings:
    """Records the task's dataset into the workdir when it names one of ours."""
    options = settings.dataset
    ours = options.source == "minari" and options.id.startswith("ractd/")
    if not ours or options.root:
        return settings
    if dataset_id(settings.task) != options.id:
        raise ConfigError(
            f"config.dataset.id: expected {dataset_id(settings.task)!r} for task "
            f"{settings.task!r}, found {options.id!r}"
        )
    root = str(workdir / "datasets")
    if not has_minari(options.id, root):
        logging.info("recording %d transitions", options.num_transitions)
        recorded = generate_dataset(
            settings.task,
            options.num_transitions,
            options.seed,
            demonstrations=options.demonstrations,
            root=root,
        )
        logging.info(
            "recorded %s: %d episodes, %d transitions, mean return %.1f",
            recorded.dataset_id,
            recorded.episodes,
            recorded.transitions,
            recorded.return_mean,
        )
    elif (kept := num_transitions(options.id, root)) < options.num_transitions:
        raise ConfigError(
            f"config.dataset.num_transitions: {root} has {kept} of {options.id}, found "
            f"{options.num_transitions}: expected no more, or another --workdir"
        )
    return dataclasses.replace(
        settings, dataset=dataclasses.replace(options, root=root)
    )


def in_order(names: Iterable[str]) -> list[str]:
    """The trainings and their prerequisites, each after its own prerequisites."""
    ordered: list[str] = []
    for name in names:
        for each in (*in_order(TRAININGS[name].needs), name):
            if each not in ordered:
                ordered.append(each)
    return ordered


def train_all(
    names: Iterable[str],
    settings: Settings,
    dataset: OfflineDataset,
    workdir: Path,
    allow_config_change: bool = False,
) -> dict[str, float]:
    """Trains these entries of :data:`TRAININGS`, each in its folder, unless finished.

    Returns:
      Name -> seconds of this call, compilation included.
    """
    seconds = {}
    for name in in_order(names):
        training, start = TRAININGS[name], time.perf_counter()
        own = from_mapping(training.changes, settings)
        stage = training.stage(own, dataset, workdir)
        train(stage, own.run, own.seed, workdir / name, allow_config_change)
        seconds[name] = time.perf_counter() - start
    return seconds
