"""Stage 2: the reward models."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax import losses, models
from ractd_jax.data.episodes import return_to_go
from ractd_jax.data.normalizers import fit_min_max
from ractd_jax.data.sources import OfflineDataset
from ractd_jax.settings import Settings
from ractd_jax.training.stages.base import Stage, base_metadata, dimensions

_BLOCK = 65_536


class RewardData(NamedTuple):
    """The dataset's pairs, normalised returns-to-go, and the rows to train on."""

    observations: jax.Array
    actions: jax.Array
    targets: jax.Array
    train_rows: jax.Array


class RewardBatch(NamedTuple):
    """Normalised pairs [..., O] and [..., A], and returns-to-go [...]."""

    observations: jax.Array
    actions: jax.Array
    targets: jax.Array


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
    episodes = dataset.episodes
    data = RewardData(
        episodes.observations,
        episodes.actions,
        target_normalizer.normalize(targets)[:, 0],
        train_rows,
    )

    def pairs(data: RewardData, rows) -> RewardBatch:
        return RewardBatch(
            dataset.observation_normalizer.normalize(data.observations[rows]),
            dataset.action_normalizer.normalize(data.actions[rows]),
            data.targets[rows],
        )

    held = held_rows[:_BLOCK] if len(held_rows) else train_rows[:_BLOCK]
    held = pairs(data, held)

    def predict(params, observations, actions):
        def member(params, observations, actions):
            return model.apply({"params": params}, observations, actions)

        return jax.vmap(member)(params, observations, actions)

    def loss_fn(params, target_params, frozen, batch, key):
        del target_params, frozen, key
        predictions = predict(params, batch.observations, batch.actions)
        loss = losses.regression_loss(predictions, batch.targets)
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
        data=data,
        num_rows=len(train_rows),
        gather=lambda data, rows: pairs(data, data.train_rows[rows]),
        draws_per_item=options.num_members,
        streaming=settings.dataset.streaming,
        metadata={
            **base_metadata("reward", settings, dataset),
            "return_normalizer": target_normalizer.to_dict(),
        },
        probe=lambda state: held_out_error(state.ema_params, *held),
    )
