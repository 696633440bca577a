"""Stage 3: the one-step student."""

from __future__ import annotations

import jax
import numpy as np

from ractd_jax import models
from ractd_jax.data.normalizers import MinMaxNormalizer
from ractd_jax.data.sources import OfflineDataset
from ractd_jax.errors import CheckpointError, ConfigError
from ractd_jax.models import Dimensions
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.student import warm_start
from ractd_jax.training.checkpoint import StoredModel
from ractd_jax.training.stages.base import (
    Stage,
    base_metadata,
    dimensions,
    plan_sampling,
)
from ractd_jax.training.stages.student_loss import student_loss_fn, student_probe

_BLOCK = 65_536
_PROBE_SIZE = 256


def load_stage_model(directory, stage: str, settings: Settings) -> StoredModel:
    """Opens a checkpoint that must be of this stage and of the same task.

    Raises:
      CheckpointError: it is of another stage or task.
    """
    stored = StoredModel(directory)
    found = stored.metadata["stage"]
    if found != stage:
        raise CheckpointError(
            f"{directory}: expected a {stage} checkpoint, found a {found} checkpoint"
        )
    task = stored.metadata["settings"]["task"]
    if task != settings.task:
        raise CheckpointError(
            f"{directory}: expected a checkpoint of task '{settings.task}', found one "
            f"of task '{task}'"
        )
    return stored


def _check_same_data(stored: StoredModel, metadata: dict) -> None:
    for name in ("dimensions", "normalizers"):
        if stored.metadata[name] != metadata[name]:
            raise CheckpointError(
                f"{stored.directory}: its {name} differ from those of this dataset and "
                f"config; train it again on the same data"
            )


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
    _check_same_data(teacher, metadata)
    teacher_settings = from_mapping(teacher.metadata["settings"])
    for section in ("network", "diffusion"):
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
        for name in ("ctm_weight", "dsm_weight", "reward_weight", "pessimism")
    } | {"advantage_cap": np.float32(options.advantage_cap or np.inf)}
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
        _check_same_data(stored, metadata)
        reward_model, frozen["reward"] = load_reward_members(
            stored, dims, options.num_members
        )
        metadata["reward"] = {"directory": str(reward_directory), "step": stored.step}
        metadata["predicted_return"] = predicted_return_range(
            models.make_reward_fn(reward_model, frozen["reward"], options.pessimism),
            MinMaxNormalizer.from_dict(stored.metadata["return_normalizer"]),
            dataset,
        )
        rows = np.random.default_rng(0).integers(sampling["num_rows"], size=_PROBE_SIZE)
        batch = sampling["gather"](sampling["data"], rows)
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
        loss_fn=student_loss_fn(settings, unet, reward_model),
        frozen=frozen,
        metadata=metadata,
        target_decay=options.target_ema or None,
        probe=probe,
        **sampling,
    )


def load_reward_members(stored: StoredModel, dims: Dimensions, num_members: int):
    """(reward model, stacked EMA parameters of the first `num_members`; 0: all)."""
    options = from_mapping(stored.metadata["settings"]).reward
    if num_members > options.num_members:
        raise CheckpointError(
            f"{stored.directory}: expected at least {num_members} members "
            f"(config.student.num_members), found {options.num_members}"
        )
    model = models.make_reward_model(options)
    template = jax.eval_shape(
        lambda: models.init_reward(model, dims, jax.random.key(0), options.num_members)
    )
    params = stored.load(template)
    keep = num_members or options.num_members
    return model, jax.tree.map(lambda leaf: leaf[:keep], params)


def predicted_return_range(
    reward_fn, normalizer: MinMaxNormalizer, dataset: OfflineDataset
) -> dict:
    """What the reward model predicts on the data's own pairs, in return units."""

    @jax.jit
    def predict(observations, actions):
        return reward_fn(
            dataset.observation_normalizer.normalize(observations),
            dataset.action_normalizer.normalize(actions),
        )

    episodes = dataset.episodes
    blocks = [slice(i, i + _BLOCK) for i in range(0, episodes.num_transitions, _BLOCK)]
    predictions = [
        np.asarray(predict(episodes.observations[block], episodes.actions[block]))
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
