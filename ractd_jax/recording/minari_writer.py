"""Recorded episodes as Minari datasets."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import gymnasium
import minari
import numpy as np
from gymnasium.envs.registration import EnvSpec
from minari.data_collector import EpisodeBuffer

from ractd_jax.data.minari_store import DIGEST, hash_episode, local_root
from ractd_jax.data.recorded import RecordedEpisode


def _observations(episode: RecordedEpisode, space: gymnasium.Space):
    """As `space` has them: vectors, or PointMaze's Dict of them and their goals."""
    if not isinstance(space, gymnasium.spaces.Dict):
        return episode.observations
    size = episode.goals.shape[1]
    return {
        "observation": episode.observations,
        "achieved_goal": episode.observations[:, :size],
        "desired_goal": episode.goals,
    }


def _float32_space(space: gymnasium.Space) -> gymnasium.Space:
    if isinstance(space, gymnasium.spaces.Dict):
        parts = {key: _float32_space(part) for key, part in space.items()}
        return gymnasium.spaces.Dict(parts)
    return gymnasium.spaces.Box(-np.inf, np.inf, space.shape, np.float32)


def save_minari(
    dataset_id: str,
    episodes: Sequence[RecordedEpisode],
    environment: str | EnvSpec,
    root: str,
    *,
    algorithm: str,
    description: str,
    eval_environment: str | EnvSpec | None = None,
) -> None:
    """Writes recorded episodes as a Minari dataset in the local root.

    Goals are a part of the observations where the environment shows them, else infos.
    An interrupted writing leaves a folder without metadata, which is removed first.

    Args:
      dataset_id: its Minari id.
      episodes: what was recorded.
      environment: that recorded them, a Gymnasium id or spec.
      root: Minari root; empty for Minari's default.
      algorithm: of the behaviour, in words.
      description: free text.
      eval_environment: to evaluate in; by default the one that recorded.
    """
    env = gymnasium.make(environment)
    shown = isinstance(env.observation_space, gymnasium.spaces.Dict)
    buffers = [
        EpisodeBuffer(
            id=i,
            seed=episode.seed,
            options=episode.options,
            observations=_observations(episode, env.observation_space),
            actions=episode.actions,
            rewards=list(episode.rewards),
            terminations=[*[False] * (len(episode.rewards) - 1), episode.terminated],
            truncations=[*[False] * (len(episode.rewards) - 1), not episode.terminated],
            infos={} if shown or episode.goals is None else {"goal": episode.goals},
        )
        for i, episode in enumerate(episodes)
    ]
    with local_root(root):
        if root:
            Path(root).mkdir(parents=True, exist_ok=True)
        if dataset_id not in minari.list_local_datasets():
            folder = minari.storage.get_dataset_path(dataset_id)
            shutil.rmtree(folder, ignore_errors=True)
        dataset = minari.create_dataset_from_buffers(
            dataset_id,
            buffers,
            env=environment,
            eval_env=eval_environment or environment,
            observation_space=_float32_space(env.observation_space),
            action_space=env.action_space,
            algorithm_name=algorithm,
            author="ractd_jax",
            description=description,
            num_episodes_average_score=0,
            code_permalink="ractd_jax/experiments/generate_dataset.py",
            author_email="none",
        )
        hasher = hashlib.sha256()
        for episode in dataset.iterate_episodes():
            hash_episode(hasher, episode)
        dataset.storage.update_metadata({DIGEST: hasher.hexdigest()})
