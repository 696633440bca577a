"""Files in D4RL's layout, read and written with h5py alone."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence

import h5py
import numpy as np
from absl import logging

from ractd_jax.data.episodes import Episodes, build_episodes
from ractd_jax.data.hdf5 import open_hdf5, read_values
from ractd_jax.data.origin import Origin, d4rl_family, d4rl_time_limit, origin_of_file
from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.errors import DataError
from ractd_jax.files import completed

_FLOATS = {"observations": 2, "actions": 2, "rewards": 1, "infos/goal": 2}
_FLAGS = ("terminals", "timeouts")
_ATTRIBUTES = {"infos/goal": "goals"}
_DIGESTS, _ABOUT = "sha256", "ractd_jax"


def load_d4rl_hdf5(
    path: str | os.PathLike, max_episode_steps: int | None = None
) -> tuple[Episodes, Origin]:
    """Reads a D4RL file: MuJoCo -v0, -v1 and -v2, maze2d, kitchen or antmaze.

    Values are converted to float32 in blocks. Files written by this package carry a
    digest of each field, which is checked. The rewards of D4RL's kitchen, which count
    the subtasks that are done, become what its environment pays.

    Args:
      path: the file.
      max_episode_steps: time limit of an episode, for files without ``timeouts``
        (MuJoCo -v0); None takes D4RL's own where the file's name says which task it is.

    Raises:
      DataError: the file is missing, is not HDF5 or is cut off, lacks a field, or
        holds values that :func:`build_episodes` refuses.
    """
    with open_hdf5(path, "a D4RL HDF5 file") as file:
        fields = _read_fields(file, path)
        about = file.attrs.get(_ABOUT)
        digests = file.attrs.get(_DIGESTS)
        about = json.loads(about) if about else {}
        digests = json.loads(digests) if digests else {}
        environment_id = str(about.get("environment", ""))
    if "timeouts" not in fields and "terminals" in fields:
        limit = max_episode_steps or d4rl_time_limit(os.fspath(path))
        fields["timeouts"] = _derived_timeouts(fields["terminals"], limit, path)
    episodes = build_episodes(fields, path)
    _check_digests(episodes, digests, path)
    if d4rl_family(os.fspath(path)) == "kitchen" and not about:
        logging.info("%s: 1 is paid for each subtask, where rewards count them", path)
        rewards = _kitchen_rewards(episodes)
        episodes = dataclasses.replace(episodes, rewards=rewards)
    return episodes, origin_of_file(os.fspath(path), environment_id)


def _kitchen_rewards(episodes: Episodes) -> np.ndarray:
    """[T] what the environment pays: once for each subtask, when it is first done.

    D4RL's files of the kitchen have at every step how many are done; one that is undone
    and done again is not paid again.
    """
    paid = np.zeros_like(episodes.rewards)
    for start, end in itertools.pairwise(episodes.starts):
        most = np.maximum.accumulate(episodes.rewards[start:end])
        paid[start:end] = np.diff(most, prepend=np.zeros(1, most.dtype))
    return paid


def _read_fields(file: h5py.File, path) -> dict[str, np.ndarray]:
    fields = {}
    for name in (*_FLOATS, *_FLAGS):
        stored = file.get(name)
        if not isinstance(stored, h5py.Dataset):
            continue
        # build_episodes says what is wrong with others, discrete actions among them.
        numbers = "f" if name == "actions" else "fiub"
        floats = name in _FLOATS and stored.dtype.kind in numbers
        fields[name] = read_values(stored, name, path, floats=floats)
    return {_ATTRIBUTES.get(name, name): array for name, array in fields.items()}


def _derived_timeouts(terminals: np.ndarray, limit: int, path) -> np.ndarray:
    """Timeouts for a file without any: every `limit` steps after an episode began."""
    if limit < 1:
        raise DataError(
            path,
            field="timeouts",
            expected="the field, or config.dataset.max_episode_steps to derive it from",
            found="nothing",
        )
    logging.warning(
        "%s has no timeouts: an episode ends at a terminal or after %d steps",
        path,
        limit,
    )
    terminals = np.asarray(terminals).reshape(-1) != 0
    steps = np.arange(len(terminals))
    # First step of the episode that each step lies in, as terminals alone end them.
    begins = np.where(np.concatenate([[True], terminals[:-1]]), steps, 0)
    within = steps - np.maximum.accumulate(begins)
    return (within % limit == limit - 1) & ~terminals


def digest(array: np.ndarray) -> str:
    """Hash of an array's dtype, shape and values."""
    array = np.ascontiguousarray(array)
    hasher = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    hasher.update(array.data)
    return hasher.hexdigest()


def _check_digests(episodes: Episodes, digests: Mapping[str, str], path) -> None:
    """Raises DataError when a field differs from its digest."""
    if not isinstance(digests, dict):
        raise DataError(path, expected="digests by field", found=repr(digests)[:40])
    for name, expected in digests.items():
        array = getattr(episodes, _ATTRIBUTES.get(name, name), None)
        if array is None or digest(array) != expected:
            raise DataError(
                path,
                field=name,
                expected="the values that were written (sha256)",
                found="other values: the file is damaged or was edited",
            )


def save_d4rl_hdf5(
    path: str | os.PathLike,
    episodes: Sequence[RecordedEpisode],
    attributes: dict[str, str],
) -> None:
    """Writes recorded episodes in D4RL's layout; appears only when complete.

    Episodes with goals are written as D4RL's mazes' files are, with ``infos``.
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
    digests = {name: digest(flat[name]) for name in (*_FLOATS, *_FLAGS) if name in flat}
    with completed(path) as temporary, h5py.File(temporary, "w") as file:
        for name, array in flat.items():
            file.create_dataset(name, data=array, compression="gzip")
        for name, value in {**attributes, _DIGESTS: json.dumps(digests)}.items():
            file.attrs[name] = value


def _maze_infos(episodes: Sequence[RecordedEpisode]) -> dict[str, np.ndarray]:
    """The ``infos`` of maze files, whose observations are positions and velocities.

    An ant has one position more, as its orientation is a quaternion.
    """
    if any(episode.goals is None for episode in episodes):
        return {}
    positions = (episodes[0].observations.shape[1] + 1) // 2
    return {
        "infos/goal": np.concatenate([e.goals[:-1] for e in episodes]),
        "infos/qpos": np.concatenate(
            [e.observations[:-1, :positions] for e in episodes]
        ),
        "infos/qvel": np.concatenate(
            [e.observations[:-1, positions:] for e in episodes]
        ),
    }
