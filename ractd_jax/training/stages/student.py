"""Stage 3: the one-step student."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from ractd_jax.data.sources import OfflineDataset
from ractd_jax.errors import CheckpointError, ConfigError
from ractd_jax.methods import (
    CtmStudent,
    NoiseSteering,
    PlanBatch,
    Rating,
    student_coefficients,
)
from ractd_jax.normalizers import MinMaxNormalizer
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.storage.checkpoint import StoredModel
from ractd_jax.storage.trained import (
    check_same_data,
    load_rating,
    load_stage_model,
    reference,
)
from ractd_jax.student import warm_start
from ractd_jax.training.parallel import check_batch_size
from ractd_jax.training.stages.base import (
    Stage,
    base_metadata,
    plan_sampling,
)
from ractd_jax.training.stages.plan_sizes import dimensions
from ractd_jax.training.stages.student_points import (
    best_plans,
    return_spread,
    sample_student,
    sample_teacher,
    teacher_paths,
)
from ractd_jax.training.stages.student_probes import (
    PROBED_STATES,
    fidelity_probe,
    join_probes,
    return_probe,
)

_SAMPLE = 4_096


def student_stage(
    settings: Settings,
    dataset: OfflineDataset,
    teacher_directory: str,
    reward_directory: str | None,
    start_directory: str | None = None,
) -> Stage:
    """The student: CTM + DSM + reward + paths.

    It starts as the teacher, or as the student in `start_directory`, such as CTD for a
    second phase with the reward term.

    Args:
      settings: settings of the training.
      dataset: what the teacher learned.
      teacher_directory: workdir of the teacher.
      reward_directory: workdir of reward models or of a critic.
      start_directory: workdir of the student to start from.

    Raises:
      CheckpointError: a checkpoint of another stage, task, network or dataset.
      ConfigError: a reward weight or candidates without what they need.
    """
    options = settings.student
    _check_options(settings, reward_directory, start_directory)
    metadata = base_metadata("student", settings, dataset)
    method = CtmStudent.from_settings(settings, dimensions(settings, dataset))
    teacher = _load_plans_model(teacher_directory, "teacher", settings, metadata)
    template = jax.eval_shape(method.teacher.init, jax.random.key(0))
    frozen = {"teacher": teacher.load(template, options.teacher_weights)}
    # Traced, so that one compilation serves every weight.
    frozen["coefficients"] = student_coefficients(options)
    metadata["teacher"] = reference(teacher)
    first = None
    if start_directory:
        start = _load_plans_model(start_directory, "student", settings, metadata)
        first = start.load(jax.eval_shape(method.init, jax.random.key(0)))
        metadata["start"] = reference(start)

    sampling, metadata["windows"] = plan_sampling("student", settings, dataset)
    rows = np.random.default_rng(0).integers(sampling["num_rows"], size=_SAMPLE)
    batch = sampling["gather"](sampling["data"], rows.astype(np.int32))
    probed = jax.tree.map(lambda x: x[:PROBED_STATES], batch)
    samples = sample_teacher(settings, method, frozen["teacher"], probed)
    probe = fidelity_probe(settings, method, samples)
    if reward_directory and (options.reward_weight or options.path_candidates > 1):
        rating, params, metadata["predicted_return"] = _load_reward(
            reward_directory, settings, metadata, batch
        )
        rate = rating.plan_return_fn(params, options.pessimism)
        if options.reward_weight:
            method = dataclasses.replace(method, reward=rating)
            frozen["reward"] = params
            if options.reward_unit == "spread":
                frozen["reward_unit"] = return_spread(rate, samples)
        rated = return_probe(
            settings, method, rating, params, probed, metadata["predicted_return"]
        )
        probe = join_probes(probe, rated)
    if options.path_weight and options.path_candidates > 1:
        frozen["paths"] = best_plans(settings, dataset, method, first, rate)
    elif options.path_weight:
        frozen["paths"] = teacher_paths(settings, dataset, method, frozen["teacher"])

    return Stage(
        name="student",
        method=method,
        first_params=lambda: (
            warm_start(frozen["teacher"], settings.network.embed_dim)
            if first is None
            else jax.tree.map(jax.numpy.asarray, first)
        ),
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        frozen=frozen,
        metadata=metadata,
        target_decay=options.target_ema or None,
        probe=probe,
        **sampling,
    )


def steering_stage(
    settings: Settings,
    dataset: OfflineDataset,
    student_directory: str,
    reward_directory: str,
) -> Stage:
    """A network that steers the noise of a student, which stays as it is.

    Args:
      settings: settings of the training.
      dataset: what the student learned.
      student_directory: workdir of the student.
      reward_directory: workdir of reward models or of a critic.

    Raises:
      CheckpointError: a checkpoint of another stage, task, network or dataset.
      ConfigError: plans of states, or weight decay.
    """
    options, dims = settings.steering, dimensions(settings, dataset)
    if options.optimizer.weight_decay:
        raise ConfigError(
            "config.steering.optimizer.weight_decay: expected 0, as it would shrink "
            f"the student's weights, too, found {options.optimizer.weight_decay}"
        )
    metadata = base_metadata("steering", settings, dataset)
    method = NoiseSteering.from_settings(settings, dims)
    stored = _load_plans_model(student_directory, "student", settings, metadata)
    student = stored.load(jax.eval_shape(method.student.init, jax.random.key(0)))
    metadata["start"] = reference(stored)
    sampling, metadata["windows"] = plan_sampling("steering", settings, dataset)
    rows = np.random.default_rng(0).integers(sampling["num_rows"], size=_SAMPLE)
    batch = sampling["gather"](sampling["data"], rows.astype(np.int32))
    rating, params, found = _load_reward(reward_directory, settings, metadata, batch)
    metadata["predicted_return"] = found
    rate = rating.plan_return_fn(params, settings.student.pessimism)

    def first_params():
        fresh = method.init(jax.random.key(settings.seed))
        return {**fresh, "student": jax.tree.map(jax.numpy.asarray, student)}

    return Stage(
        name="steering",
        method=dataclasses.replace(method, reward=rating),
        first_params=first_params,
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        frozen={
            "reward": params,
            "reward_unit": return_spread(
                rate, sample_student(method.student, student, batch)
            ),
            "pessimism": np.float32(settings.student.pessimism),
        },
        metadata=metadata,
        **sampling,
    )


def _check_options(settings: Settings, reward, start) -> None:
    """Raises ConfigError for options that lack what they need."""
    options = settings.student
    if options.path_weight:
        check_batch_size(options.path_batch_size, "student.path_batch_size")
    if options.path_candidates > 1:
        needs = {
            "config.student.path_weight above 0": options.path_weight,
            "a reward model or critic (--reward=DIR)": reward,
            "a student (--start=DIR)": start,
        }
        for what, found in needs.items():
            if not found:
                raise ConfigError(
                    f"config.student.path_candidates = {options.path_candidates}: "
                    f"expected {what} with it, found none"
                )
    if not options.reward_weight:
        return
    if not reward:
        raise ConfigError(
            "config.student.reward_weight is not 0: expected a reward model "
            "(--reward=DIR), found none"
        )
    if options.reward_temperature < 1.0 and options.reward_input != "one_step":
        raise ConfigError(
            "config.student.reward_temperature below 1: expected reward_input "
            f"'one_step' with it, found {options.reward_input!r}"
        )


def _load_plans_model(
    directory: str, stage: str, settings: Settings, metadata: dict
) -> StoredModel:
    """A teacher or student of the same network, diffusion, plans and data.

    Raises:
      CheckpointError: it is of others.
    """
    stored = load_stage_model(directory, stage, settings)
    check_same_data(stored, metadata)
    own = from_mapping(stored.metadata["settings"])
    # How many actions are executed is for the planner to know.
    own = from_mapping({"plan": {"execute": settings.plan.execute}}, own)
    for section in ("network", "diffusion", "plan"):
        if getattr(own, section) != getattr(settings, section):
            raise CheckpointError(
                f"{directory}: its {section} settings differ from this config's"
            )
    return stored


def _load_reward(
    directory: str, settings: Settings, metadata: dict, batch: PlanBatch
) -> tuple[Rating, Any, dict]:
    """(method, parameters, :func:`predicted_return_range`); notes it in `metadata`."""
    options = settings.student
    rating, params, stored = load_rating(
        directory, settings, metadata, options.num_members
    )
    metadata["reward"] = reference(stored)
    found = predicted_return_range(
        rating.plan_return_fn(params, options.pessimism),
        MinMaxNormalizer.from_dict(stored.metadata["return_normalizer"]),
        batch,
    )
    return rating, params, found


def predicted_return_range(
    plan_return_fn, normalizer: MinMaxNormalizer, batch: PlanBatch
) -> dict:
    """The predicted returns of the data's own plans, in return units."""
    blocks = np.array_split(np.arange(len(batch.plans)), 16)
    predict = jax.jit(plan_return_fn)
    parts = [jax.tree.map(lambda x, i=block: x[i], batch) for block in blocks]
    predictions = [np.asarray(predict(*part)) for part in parts]
    returns = normalizer.unnormalize(np.concatenate(predictions))
    q01, median, q99 = np.quantile(returns, (0.01, 0.5, 0.99))
    return {
        "data_q01": float(q01),
        "data_median": float(median),
        "data_q99": float(q99),
        "return_normalizer": normalizer.to_dict(),
    }
