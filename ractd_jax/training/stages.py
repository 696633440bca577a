"""The three stages: what each one trains, on what, with which loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from ractd_jax import diffusion, losses, models
from ractd_jax.data.episodes import return_to_go
from ractd_jax.data.normalizers import MinMaxNormalizer, fit_min_max
from ractd_jax.data.sources import OfflineDataset
from ractd_jax.data.windows import (
    WindowIndex,
    index_windows,
    window_actions,
    window_history,
)
from ractd_jax.errors import CheckpointError, ConfigError
from ractd_jax.models import Dimensions
from ractd_jax.settings import Optimizer, Settings, from_mapping, to_dict
from ractd_jax.student import sample_one_step, sample_time_triples, warm_start
from ractd_jax.training.checkpoint import StoredModel
from ractd_jax.training.parallel import LossFn
from ractd_jax.training.state import TrainState

_BLOCK = 65_536
_PROBE_SIZE = 256


class PlanData(NamedTuple):
    """Normalised arrays on the device, and the windows over them."""

    observations: jax.Array
    actions: jax.Array
    index: WindowIndex


class RewardData(NamedTuple):
    """Normalised pairs, their normalised returns-to-go, and who trains on which."""

    observations: jax.Array
    actions: jax.Array
    targets: jax.Array
    train_rows: jax.Array


@dataclasses.dataclass(frozen=True)
class Stage:
    """One training.

    Attributes:
      name: ``teacher``, ``reward`` or ``student``.
      num_steps: optimiser steps.
      batch_size: items per step over all devices.
      optimizer: its settings.
      init_params: key -> parameters at step 0.
      loss_fn: see :mod:`ractd_jax.training.parallel`.
      frozen: parameters that the loss reads and does not train.
      data: arrays that the loss draws from.
      metadata: JSON-able, saved with every checkpoint.
      target_decay: decay of the target network; None for no target network.
      probe: ema_params -> extra scalars at each log line.
    """

    name: str
    num_steps: int
    batch_size: int
    optimizer: Optimizer
    init_params: Callable[[jax.Array], Any]
    loss_fn: LossFn
    frozen: Any
    data: Any
    metadata: dict
    target_decay: float | None = None
    probe: Callable[[TrainState], dict[str, jax.Array]] | None = None


def dimensions(settings: Settings, dataset: OfflineDataset) -> Dimensions:
    return Dimensions(
        observation=dataset.episodes.observations.shape[1],
        action=dataset.episodes.actions.shape[1],
        horizon=settings.plan.horizon,
        history=settings.plan.history,
    )


def base_metadata(stage: str, settings: Settings, dataset: OfflineDataset) -> dict:
    """What every checkpoint says about itself."""
    return {
        "stage": stage,
        "settings": to_dict(settings),
        "dimensions": dataclasses.asdict(dimensions(settings, dataset)),
        "normalizers": {
            "observations": dataset.observation_normalizer.to_dict(),
            "actions": dataset.action_normalizer.to_dict(),
        },
        "dataset": {
            "name": dataset.name,
            "transitions": dataset.episodes.num_transitions,
            "episodes": dataset.episodes.num_episodes,
        },
    }


def _plan_data(settings: Settings, dataset: OfflineDataset) -> PlanData:
    index = index_windows(
        dataset.episodes, settings.plan.horizon, settings.plan.padding, dataset.name
    )
    return PlanData(*dataset.normalized(), index)


def _sample_windows(data: PlanData, batch_size: int, dims: Dimensions, key: jax.Array):
    """(plans [B, H, A], condition [B, h O], observations [B, O])."""
    rows = jax.random.randint(key, (batch_size,), 0, data.index.start.shape[0])
    plans = window_actions(data.actions, data.index, rows, dims.horizon)
    history = window_history(data.observations, data.index, rows, dims.history)
    return plans, history.reshape(batch_size, -1), history[:, -1]


def teacher_stage(settings: Settings, dataset: OfflineDataset) -> Stage:
    """The EDM teacher, by denoising score matching."""
    dims = dimensions(settings, dataset)
    options = settings.teacher
    unet = models.make_unet(settings.network, dims, options.dropout_rate)
    distance_fn = losses.distance(options.distance)
    noise = settings.diffusion

    def loss_fn(params, target_params, frozen, data, batch_size, key):
        del target_params, frozen
        window_key, sigma_key, noise_key, dropout_key = jax.random.split(key, 4)
        plans, condition, _ = _sample_windows(data, batch_size, dims, window_key)
        denoise_fn = models.make_denoise_fn(
            unet,
            params,
            condition,
            noise,
            deterministic=options.dropout_rate == 0.0,
            rngs={"dropout": dropout_key},
        )
        sigma = diffusion.sample_log_normal_sigma(
            sigma_key, batch_size, noise.log_sigma_mean, noise.log_sigma_std
        )
        loss = losses.dsm_loss(
            denoise_fn,
            plans,
            sigma,
            jax.random.normal(noise_key, plans.shape),
            distance_fn=distance_fn,
            sigma_data=noise.sigma_data,
        )
        return loss, {"loss/dsm": loss}

    return Stage(
        name="teacher",
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        init_params=lambda key: models.init_unet(unet, dims, key, "teacher"),
        loss_fn=loss_fn,
        frozen={},
        data=_plan_data(settings, dataset),
        metadata=base_metadata("teacher", settings, dataset),
    )


def split_episodes(
    starts: np.ndarray, holdout_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(training rows, held-out rows) int32, whole episodes each.

    At least one episode trains; with a single episode nothing is held out.
    """
    num_episodes = len(starts) - 1
    order = np.random.default_rng(seed).permutation(num_episodes)
    held = np.zeros(num_episodes, bool)
    held[order[: min(round(holdout_fraction * num_episodes), num_episodes - 1)]] = True
    row_held = np.repeat(held, np.diff(starts))
    rows = np.arange(len(row_held), dtype=np.int32)
    return rows[~row_held], rows[row_held]


def reward_stage(settings: Settings, dataset: OfflineDataset) -> Stage:
    """The reward models, by regression on the normalised return-to-go.

    The members of the ensemble have their own initial weights and batches, and are
    trained together by vmap.
    """
    dims = dimensions(settings, dataset)
    options = settings.reward
    model = models.make_reward_model(options)
    targets = return_to_go(
        dataset.episodes, options.discount, options.termination_penalty
    )[:, None]
    target_normalizer = fit_min_max(targets)
    train_rows, held_rows = split_episodes(
        dataset.episodes.starts, options.holdout_fraction, settings.seed
    )
    targets = target_normalizer.normalize(targets)[:, 0]
    observations, actions = dataset.normalized()
    held = held_rows[:_BLOCK] if len(held_rows) else train_rows[:_BLOCK]
    held = tuple(array[held] for array in (observations, actions, targets))

    def predict(params, observations, actions):
        def member(params, observations, actions):
            return model.apply({"params": params}, observations, actions)

        return jax.vmap(member)(params, observations, actions)

    def loss_fn(params, target_params, frozen, data, batch_size, key):
        del target_params, frozen
        shape = (options.num_members, batch_size)
        picks = jax.random.randint(key, shape, 0, data.train_rows.shape[0])
        rows = data.train_rows[picks]
        predictions = predict(params, data.observations[rows], data.actions[rows])
        loss = losses.regression_loss(predictions, data.targets[rows])
        return loss, {"loss/mse": loss / options.num_members}

    @jax.jit
    def held_out_error(params, observations, actions, targets):
        reward_fn = models.make_reward_fn(model, params, pessimism=0.0)
        error = reward_fn(observations, actions) - targets
        return {"loss/held_out_mse": jnp.mean(jnp.square(error))}

    return Stage(
        name="reward",
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        init_params=lambda key: models.init_reward(
            model, dims, key, options.num_members
        ),
        loss_fn=loss_fn,
        frozen={},
        data=RewardData(observations, actions, targets, train_rows),
        metadata={
            **base_metadata("reward", settings, dataset),
            "return_normalizer": target_normalizer.to_dict(),
        },
        probe=lambda state: held_out_error(state.ema_params, *held),
    )


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
    reward_model, probe_reward = None, None
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
            *dataset.normalized(),
        )
        probe_reward = metadata["predicted_return"]

    data = _plan_data(settings, dataset)
    return Stage(
        name="student",
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        init_params=lambda key: warm_start(
            frozen["teacher"], settings.network.embed_dim
        ),
        loss_fn=_student_loss_fn(settings, dims, unet, reward_model),
        frozen=frozen,
        data=data,
        metadata=metadata,
        target_decay=options.target_ema or None,
        probe=_student_probe(settings, dims, unet, reward_model, frozen, data, metadata)
        if probe_reward
        else None,
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
    reward_fn, normalizer: MinMaxNormalizer, observations, actions
) -> dict:
    """What the reward model predicts on the data's own pairs, in return units."""
    predict = jax.jit(reward_fn)
    predictions = [
        np.asarray(predict(observations[i : i + _BLOCK], actions[i : i + _BLOCK]))
        for i in range(0, len(observations), _BLOCK)
    ]
    returns = normalizer.unnormalize(np.concatenate(predictions))
    q01, median, q99 = np.quantile(returns, (0.01, 0.5, 0.99))
    return {
        "data_q01": float(q01),
        "data_median": float(median),
        "data_q99": float(q99),
        "return_normalizer": normalizer.to_dict(),
    }


def _student_loss_fn(
    settings: Settings, dims: Dimensions, unet, reward_model
) -> LossFn:
    options, noise = settings.student, settings.diffusion
    distance_fn = losses.distance(options.distance)
    num_scales = options.num_scales or noise.num_scales

    def loss_fn(params, target_params, frozen, data, batch_size, key):
        keys = jax.random.split(key, 7)
        plans, condition, observations = _sample_windows(
            data, batch_size, dims, keys[0]
        )
        sigma = diffusion.sample_student_sigma(
            keys[3],
            batch_size,
            noise.num_scales,
            noise.sigma_min,
            noise.sigma_max,
            noise.rho,
            (noise.log_sigma_mean, noise.log_sigma_std),
        )
        draws = losses.StudentDraws(
            triple=sample_time_triples(
                keys[1], batch_size, num_scales, options.max_solver_steps
            ),
            ctm_noise=jax.random.normal(keys[2], plans.shape),
            dsm_sigma=sigma,
            dsm_noise=jax.random.normal(keys[4], plans.shape),
            init_noise=models.init_noise_scale(noise)
            * jax.random.normal(keys[5], plans.shape),
        )
        frozen_params = jax.lax.stop_gradient(
            params if target_params is None else target_params
        )
        frozen_jump = models.make_jump_fn(unet, frozen_params, noise)
        weights = frozen["weights"]
        reward_fn = None
        if reward_model is not None:
            reward_fn = models.make_reward_fn(
                reward_model, frozen["reward"], weights["pessimism"]
            )
        return losses.student_loss(
            models.make_clean_fn(
                unet,
                params,
                noise,
                deterministic=options.dropout_rate == 0.0,
                rngs={"dropout": keys[6]},
            ),
            lambda x, sigma, stop: frozen_jump(x, sigma, stop, condition),
            models.make_denoise_fn(unet, frozen["teacher"], condition, noise),
            reward_fn,
            plans,
            condition,
            observations,
            draws,
            models.bin_sigmas(noise, num_scales),
            distance_fn=distance_fn,
            sigma_data=noise.sigma_data,
            max_solver_steps=options.max_solver_steps,
            ctm_weight=weights["ctm_weight"],
            dsm_weight=weights["dsm_weight"],
            reward_weight=weights["reward_weight"],
            advantage_cap=weights["advantage_cap"],
            dsm_form=options.dsm_form,
            reward_input=options.reward_input,
        )

    return loss_fn


def _student_probe(settings, dims, unet, reward_model, frozen, data, metadata):
    """Predicted returns of one-step plans at fixed states, against the data's range.

    A median above the data's 99th percentile is the signature of a student that
    exploits the reward model; it is warned of once.
    """
    noise, options = settings.diffusion, settings.student
    stored = metadata["predicted_return"]
    normalizer = MinMaxNormalizer.from_dict(stored["return_normalizer"])
    key = jax.random.key(0)
    size = min(_PROBE_SIZE, len(data.index.start))
    _, condition, observations = _sample_windows(data, size, dims, key)
    init = models.init_noise_scale(noise) * jax.random.normal(
        key, (size, *dims.plan_shape)
    )

    @jax.jit
    def predicted(params, reward_params, condition, observations, init):
        jump_fn = models.make_jump_fn(unet, params, noise)
        plans = sample_one_step(
            lambda x, sigma, stop: jump_fn(x, sigma, stop, condition),
            init,
            noise.sigma_max,
            noise.sigma_min,
        )
        reward_fn = models.make_reward_fn(
            reward_model, reward_params, options.pessimism
        )
        predicted = reward_fn(observations, jnp.clip(plans[:, 0], -1.0, 1.0))
        quantiles = jnp.quantile(predicted, jnp.array([0.5, 0.99]))
        return normalizer.unnormalize(quantiles)

    warned = []

    def probe(state: TrainState) -> dict[str, float]:
        median, q99 = predicted(
            # The replicas agree; the rest of the probe lives on one device.
            jax.device_put(state.ema_params, jax.local_devices()[0]),
            frozen["reward"],
            condition,
            observations,
            init,
        )
        if float(median) > stored["data_q99"] and not warned:
            warned.append(True)
            logging.warning(
                "the student's predicted return (median %.1f) is above the data's "
                "(99th percentile %.1f) at step %d: it may be exploiting the reward "
                "model; lower config.student.reward_weight or raise "
                "config.student.pessimism",
                float(median),
                stored["data_q99"],
                int(state.step),
            )
        return {
            "reward/student_median": median,
            "reward/student_q99": q99,
            "reward/data_median": stored["data_median"],
            "reward/data_q99": stored["data_q99"],
        }

    return probe
