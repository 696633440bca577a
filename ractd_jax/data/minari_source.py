"""Minari datasets in a local root."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import gymnasium
import minari
import numpy as np
from gymnasium.envs.registration import EnvSpec
from minari.data_collector import EpisodeBuffer

from ractd_jax.data.episodes import Episodes, build_episodes
from ractd_jax.data.rollouts import RecordedEpisode
from ractd_jax.errors import DataError

_ROOT_VARIABLE = "MINARI_DATASETS_PATH"


@contextlib.contextmanager
def _local_root(root: str) -> Iterator[None]:
    """Points Minari at `root`; an empty one leaves its own choice."""
    before = os.environ.get(_ROOT_VARIABLE)
    if root:
        # Minari joins its parts wrongly when the root is relative.
        os.environ[_ROOT_VARIABLE] = os.path.abspath(root)
    try:
        yield
    finally:
        if root and before is None:
            del os.environ[_ROOT_VARIABLE]
        elif root:
            os.environ[_ROOT_VARIABLE] = before


def has_minari(dataset_id: str, root: str) -> bool:
    """Whether `dataset_id` lies in the local root."""
    with _local_root(root):
        return dataset_id in minari.list_local_datasets()


def load_minari(dataset_id: str, root: str = "") -> Episodes:
    """Reads a local Minari dataset with array observations into episodes.

    Args:
      dataset_id: such as ``ractd/hopper/medium-expert-v0``.
      root: folder of Minari datasets; empty for Minari's own default.

    Raises:
      DataError: it is not there, or its observations are not flat arrays.
    """
    with _local_root(root):
        if dataset_id not in minari.list_local_datasets():
            raise DataError(
                f"Minari dataset '{dataset_id}'",
                expected=f"a dataset in {root or 'the default Minari root'}",
                found="none of that id; make it with experiments.generate_dataset",
            )
        try:
            dataset = minari.load_dataset(dataset_id)
            fields = _flatten(dataset)
        except DataError:
            raise
        except Exception as error:
            raise DataError(
                f"Minari dataset '{dataset_id}'",
                expected="a whole Minari dataset",
                found=f"{type(error).__name__}: {error}",
            ) from None
    return build_episodes(fields, f"Minari dataset '{dataset_id}'")


def _flatten(dataset: minari.MinariDataset) -> dict[str, np.ndarray]:
    columns = {name: [] for name in ("observations", "actions", "rewards")}
    ends = {name: [] for name in ("terminals", "timeouts")}
    for episode in dataset.iterate_episodes():
        length = len(episode.rewards)
        if not isinstance(episode.observations, np.ndarray):
            raise DataError(
                f"Minari dataset '{dataset.id}'",
                field="observations",
                expected="flat arrays",
                found=type(episode.observations).__name__,
            )
        columns["observations"].append(episode.observations[:length])
        columns["actions"].append(episode.actions)
        columns["rewards"].append(episode.rewards)
        terminals = np.asarray(episode.terminations, bool)
        timeouts = np.zeros(length, bool)
        # An episode that neither ended nor timed out was cut by the recorder.
        timeouts[-1] = not terminals[-1]
        ends["terminals"].append(terminals)
        ends["timeouts"].append(timeouts)
    return {name: np.concatenate(parts) for name, parts in {**columns, **ends}.items()}


def _goal_observations(episode: RecordedEpisode):
    """Observations as PointMaze gives them, whose position is the achieved goal."""
    if episode.goals is None:
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

    Episodes with goals are written with the Dict observations of a goal environment.
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
    buffers = [
        EpisodeBuffer(
            id=i,
            seed=episode.seed,
            observations=_goal_observations(episode),
            actions=episode.actions,
            rewards=list(episode.rewards),
            terminations=[*[False] * (len(episode.rewards) - 1), episode.terminated],
            truncations=[*[False] * (len(episode.rewards) - 1), not episode.terminated],
            infos={},
        )
        for i, episode in enumerate(episodes)
    ]
    env = gymnasium.make(environment)
    with _local_root(root):
        if root:
            Path(root).mkdir(parents=True, exist_ok=True)
        if dataset_id not in minari.list_local_datasets():
            folder = minari.storage.get_dataset_path(dataset_id)
            shutil.rmtree(folder, ignore_errors=True)
        minari.create_dataset_from_buffers(
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
