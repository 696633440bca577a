"""Files in D4RL's layout, read and written with h5py alone."""

from __future__ import annotations

import os
from collections.abc import Sequence

import h5py
import numpy as np

from ractd_jax.data.episodes import Episodes, build_episodes
from ractd_jax.data.rollouts import RecordedEpisode
from ractd_jax.errors import DataError

_FIELDS = ("observations", "actions", "rewards", "terminals", "timeouts")


def load_d4rl_hdf5(path: str | os.PathLike) -> Episodes:
    """Reads a D4RL file into episodes.

    Raises:
      DataError: the file is missing, is not HDF5 or is cut off, lacks a field, or
        holds values that :func:`build_episodes` refuses.
    """
    if not os.path.isfile(path):
        raise DataError(path, expected="a D4RL HDF5 file", found="no such file")
    fields = {}
    try:
        with h5py.File(path, "r") as file:
            for name in _FIELDS:
                if isinstance(file.get(name), h5py.Dataset):
                    fields[name] = file[name][()]
    # h5py reports damage as whatever its C library trips over.
    except Exception as error:
        raise DataError(
            path, expected="a whole HDF5 file", found=f"{type(error).__name__}: {error}"
        ) from None
    return build_episodes(fields, path)


def save_d4rl_hdf5(
    path: str | os.PathLike,
    episodes: Sequence[RecordedEpisode],
    attributes: dict[str, str],
) -> None:
    """Writes recorded episodes in D4RL's layout; appears only when complete.

    Episodes with goals are written as D4RL's maze2d files are, with ``infos``.
    """
    lengths = [len(episode.rewards) for episode in episodes]
    last = np.cumsum(lengths) - 1
    terminals, timeouts = np.zeros((2, sum(lengths)), bool)
    terminals[last] = [episode.terminated for episode in episodes]
    timeouts[last] = [not episode.terminated for episode in episodes]
    flat = {
        "observations": np.concatenate([e.observations[:-1] for e in episodes]),
        "next_observations": np.concatenate([e.observations[1:] for e in episodes]),
        "actions": np.concatenate([e.actions for e in episodes]),
        "rewards": np.concatenate([e.rewards for e in episodes]),
        **_maze_infos(episodes),
        "terminals": terminals,
        "timeouts": timeouts,
    }
    temporary = f"{os.fspath(path)}.tmp"
    with h5py.File(temporary, "w") as file:
        for name, array in flat.items():
            file.create_dataset(name, data=array, compression="gzip")
        for name, value in attributes.items():
            file.attrs[name] = value
    os.replace(temporary, path)


def _maze_infos(episodes: Sequence[RecordedEpisode]) -> dict[str, np.ndarray]:
    """What maze2d files say of each step, where observations are (x, y, vx, vy)."""
    if any(episode.goals is None for episode in episodes):
        return {}
    return {
        "infos/goal": np.concatenate([e.goals[:-1] for e in episodes]),
        "infos/qpos": np.concatenate([e.observations[:-1, :2] for e in episodes]),
        "infos/qvel": np.concatenate([e.observations[:-1, 2:] for e in episodes]),
    }
