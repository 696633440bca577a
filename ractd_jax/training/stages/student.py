"""Stage 3: the one-step student."""

from __future__ import annotations

import jax
import numpy as np

from ractd_jax import models
from ractd_jax.data.normalizers import MinMaxNormalizer
from ractd_jax.data.sources import OfflineDataset
from ractd_jax.errors import CheckpointError, ConfigError
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.student import warm_start
from ractd_jax.training.stages.base import (
    PlanBatch,
    Stage,
    base_metadata,
    dimensions,
    plan_sampling,
)
from ractd_jax.training.stages.stored import (
    check_same_data,
    load_reward_members,
    load_stage_model,
)
from ractd_jax.training.stages.student_loss import student_loss_fn, student_probe

_SAMPLE = 4_096
_PROBE_SIZE = 256


def student_stage(
    settings: Settings,
    dataset: OfflineDataset,
    teacher_directory: str,
    reward_directory: str | None,
) -> Stage:
    """The student: CTM + DSM + reward, warm-started from the teacher.

    Raises:
      CheckpointError: a checkpoint of another stage, task, network or dataset.
      ConfigError: a reward weight without a reward model.
    """
    dims = dimensions(settings, dataset)
    options = settings.student
    metadata = base_metadata("student", settings, dataset)
    unet = models.make_unet(settings.network, dims, options.dropout_rate)
    teacher = load_stage_model(teacher_directory, "teacher", settings)
    check_same_data(teacher, metadata)
    teacher_settings = from_mapping(teacher.metadata["settings"])
    for section in ("network", "diffusion", "plan"):
        if getattr(teacher_settings, section) != getattr(settings, section):
            raise CheckpointError(
                f"{teacher_directory}: its {section} settings differ from this config's"
            )
    template = jax.eval_shape(
        lambda: models.init_unet(unet, dims, jax.random.key(0), "teacher")
    )
    frozen = {"teacher": teacher.load(template, options.teacher_weights)}
    # Traced, so that one compilation serves every weight.
    frozen["weights"] = {
        name: np.float32(getattr(options, name))
        for name in (
            "ctm_weight",
            "dsm_weight",
            "reward_weight",
            "pessimism",
            "advantage_cap",
        )
    }
    metadata["teacher"] = {"directory": str(teacher_directory), "step": teacher.step}

    with_reward = options.reward_weight != 0.0
    reward_model, probe = None, None
    sampling = plan_sampling(settings, dataset)
    if with_reward:
        if not reward_directory:
            raise ConfigError(
                "config.student.reward_weight is not 0: expected a reward model "
                "(--reward=DIR), found none"
            )
        stored = load_stage_model(reward_directory, "reward", settings)
        check_same_data(stored, metadata)
        reward_model, frozen["reward"] = load_reward_members(
            stored, dims, options.num_members
        )
        metadata["reward"] = {"directory": str(reward_directory), "step": stored.step}
        reward_fn = models.make_reward_fn(
            reward_model, frozen["reward"], options.pessimism
        )
        rows = np.random.default_rng(0).integers(sampling["num_rows"], size=_SAMPLE)
        batch = sampling["gather"](sampling["data"], rows.astype(np.int32))
        metadata["predicted_return"] = predicted_return_range(
            models.make_plan_return_fn(reward_fn, dims),
            MinMaxNormalizer.from_dict(stored.metadata["return_normalizer"]),
            batch,
        )
        batch = jax.tree.map(lambda x: x[:_PROBE_SIZE], batch)
        probe = student_probe(
            settings, dims, unet, reward_model, frozen, batch, metadata
        )

    return Stage(
        name="student",
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        init_params=lambda key: warm_start(
            frozen["teacher"], settings.network.embed_dim
        ),
        loss_fn=student_loss_fn(settings, dims, unet, reward_model),
        frozen=frozen,
        metadata=metadata,
        target_decay=options.target_ema or None,
        probe=probe,
        **sampling,
    )


def predicted_return_range(
    plan_return_fn, normalizer: MinMaxNormalizer, batch: PlanBatch
) -> dict:
    """What the reward model predicts of the data's own plans, in return units."""
    blocks = np.array_split(np.arange(len(batch.plans)), 16)
    predict = jax.jit(plan_return_fn)
    predictions = [
        np.asarray(predict(batch.plans[block], batch.condition[block]))
        for block in blocks
    ]
    returns = normalizer.unnormalize(np.concatenate(predictions))
    q01, median, q99 = np.quantile(returns, (0.01, 0.5, 0.99))
    return {
        "data_q01": float(q01),
        "data_median": float(median),
        "data_q99": float(q99),
        "return_normalizer": normalizer.to_dict(),
    }
