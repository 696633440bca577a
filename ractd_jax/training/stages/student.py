"""Stage 3: the one-step student."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.data.sources import OfflineDataset
from ractd_jax.errors import CheckpointError, ConfigError
from ractd_jax.methods import CtmStudent, PlanBatch, student_coefficients
from ractd_jax.normalizers import MinMaxNormalizer
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.storage.trained import (
    check_same_data,
    load_reward_members,
    load_stage_model,
)
from ractd_jax.student import PathPoints, warm_start
from ractd_jax.training.parallel import check_batch_size
from ractd_jax.training.stages.base import (
    Stage,
    base_metadata,
    dimensions,
    plan_sampling,
)
from ractd_jax.training.stages.student_probes import (
    PROBED_STATES,
    fidelity_probe,
    join_probes,
    make_path_solver,
    return_probe,
)

_SAMPLE = 4_096
_PATHS_AT_ONCE = 4_096


def student_stage(
    settings: Settings,
    dataset: OfflineDataset,
    teacher_directory: str,
    reward_directory: str | None,
) -> Stage:
    """The student: CTM + DSM + reward + paths, warm-started from the teacher.

    Raises:
      CheckpointError: a checkpoint of another stage, task, network or dataset.
      ConfigError: a reward weight without a reward model.
    """
    dims = dimensions(settings, dataset)
    options = settings.student
    if options.path_weight:
        check_batch_size(options.path_batch_size, "student.path_batch_size")
    metadata = base_metadata("student", settings, dataset)
    method = CtmStudent.from_settings(settings, dims)
    teacher = load_stage_model(teacher_directory, "teacher", settings)
    check_same_data(teacher, metadata)
    teacher_settings = from_mapping(teacher.metadata["settings"])
    # How many actions are executed is for the planner to know.
    execute = {"plan": {"execute": settings.plan.execute}}
    teacher_settings = from_mapping(execute, teacher_settings)
    for section in ("network", "diffusion", "plan"):
        if getattr(teacher_settings, section) != getattr(settings, section):
            raise CheckpointError(
                f"{teacher_directory}: its {section} settings differ from this config's"
            )
    template = jax.eval_shape(method.teacher.init, jax.random.key(0))
    frozen = {"teacher": teacher.load(template, options.teacher_weights)}
    # Traced, so that one compilation serves every weight.
    frozen["coefficients"] = student_coefficients(options)
    metadata["teacher"] = {"directory": str(teacher_directory), "step": teacher.step}

    sampling, metadata["windows"] = plan_sampling("student", settings, dataset)
    rows = np.random.default_rng(0).integers(sampling["num_rows"], size=_SAMPLE)
    batch = sampling["gather"](sampling["data"], rows.astype(np.int32))
    probed = jax.tree.map(lambda x: x[:PROBED_STATES], batch)
    probe = fidelity_probe(settings, method, frozen["teacher"], probed)
    if options.path_weight:
        frozen["paths"] = teacher_paths(settings, dataset, method, frozen["teacher"])
    if options.reward_weight:
        if not reward_directory:
            raise ConfigError(
                "config.student.reward_weight is not 0: expected a reward model "
                "(--reward=DIR), found none"
            )
        if options.reward_temperature < 1.0 and options.reward_input != "one_step":
            raise ConfigError(
                "config.student.reward_temperature below 1: expected reward_input "
                f"'one_step' with it, found {options.reward_input!r}"
            )
        stored = load_stage_model(reward_directory, "reward", settings)
        check_same_data(stored, metadata)
        reward, frozen["reward"] = load_reward_members(
            stored, dims, options.num_members
        )
        method = dataclasses.replace(method, reward=reward)
        metadata["reward"] = {"directory": str(reward_directory), "step": stored.step}
        metadata["predicted_return"] = predicted_return_range(
            reward.plan_return_fn(frozen["reward"], options.pessimism),
            MinMaxNormalizer.from_dict(stored.metadata["return_normalizer"]),
            batch,
        )
        rated = return_probe(
            settings,
            method,
            frozen["reward"],
            probed,
            metadata["predicted_return"],
        )
        probe = join_probes(probe, rated)

    return Stage(
        name="student",
        method=method,
        first_params=lambda: warm_start(frozen["teacher"], settings.network.embed_dim),
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        frozen=frozen,
        metadata=metadata,
        target_decay=options.target_ema or None,
        probe=probe,
        **sampling,
    )


def teacher_paths(
    settings: Settings, dataset: OfflineDataset, method: CtmStudent, teacher_params
) -> PathPoints:
    """The points of the path loss: ``student.num_paths``, solved once.

    Their conditions come from all windows, whichever the teacher learned from: in
    closed loop a student reaches states that good episodes seldom visit, and must act
    in them as its teacher would. The points depend on the teacher and the data but not
    on the training's seed, so that the members of a sweep share them.
    """
    options = settings.student
    every = dataclasses.replace(settings.dataset, weighting="uniform")
    every = dataclasses.replace(settings, dataset=every)
    sampling, _ = plan_sampling("paths", every, dataset)
    solve = make_path_solver(settings, method.teacher)
    rng = np.random.default_rng(0)
    size = min(_PATHS_AT_ONCE, options.num_paths)
    noisy = (np.arange(size) % 4 >= 2)[:, None]
    blocks = []
    for _ in range(-(-options.num_paths // size)):
        rows = rng.integers(sampling["num_rows"], size=size).astype(np.int32)
        condition = sampling["gather"](sampling["data"], rows).condition
        shape = (size, *method.dims.plan_shape)
        init = method.init_scale * rng.standard_normal(shape, np.float32)
        temperature = rng.uniform(options.path_temperature, 1.0, size)
        temperature[::2] = 1.0
        init *= np.float32(temperature)[:, None, None]
        condition = method.flat(condition)
        noise = rng.standard_normal(condition.shape, np.float32)
        condition = condition + options.path_condition_noise * noise * noisy
        condition = method.named(condition)
        init = method.pin(jnp.asarray(init), condition)
        within = rng.uniform(size=size) >= options.path_start_share
        levels = within * rng.integers(options.path_steps, size=size)
        points = solve(teacher_params, init, condition, levels.astype(np.int32))
        blocks.append(jax.device_get(points))
    return jax.tree.map(
        lambda *parts: np.concatenate(parts)[: options.num_paths], *blocks
    )


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
