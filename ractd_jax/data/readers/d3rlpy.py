"""d3rlpy's HDF5 files: dumps of a ReplayBuffer, and of the older MDPDataset.

A ReplayBuffer's dump has the arrays of each episode i by themselves
(``observations_i``, ``actions_i``, ``rewards_i``) and ``terminated_i``, whether the
environment ended it. An MDPDataset's has flat arrays: ``terminals`` where the
environment ended an episode, and ``episode_terminals`` where one ended for any reason.
"""

from __future__ import annotations

import h5py
import numpy as np

from ractd_jax.data.episodes import (
    Episodes,
    check_continuous,
    check_rows,
    checked_field,
)
from ractd_jax.data.hdf5 import open_hdf5, read_values
from ractd_jax.data.origin import Origin
from ractd_jax.data.readers.fields import (
    join,
    last_rows,
    whole_episodes,
)
from ractd_jax.errors import DataError
from ractd_jax.settings import Dataset

_RANKS = {"observations": 2, "actions": 2, "rewards": 1}


def read_d3rlpy(options: Dataset, flatten: str) -> tuple[Episodes, Origin]:
    """Reads one HDF5 file in either layout. It names no environment.

    Args:
      options: with the file's ``path``.
      flatten: not used: observations are vectors.

    Raises:
      DataError: the file is missing or damaged, lacks a field, or holds images, tuples
        of observations, discrete actions, or values that are no finite float32 numbers.
    """
    path = options.path
    with open_hdf5(path, "an HDF5 file of d3rlpy") as file:
        read = _replay_buffer if "num_episodes" in file else _mdp_dataset
        return read(file, path), Origin()


def _array(file: h5py.File, name: str, path, rank: int, flags=False) -> np.ndarray:
    """A checked array of the file."""
    stored = file.get(name)
    if not isinstance(stored, h5py.Dataset):
        # A tuple of observations is stored as NAME_0, NAME_1, ...
        found = "a tuple of arrays" if f"{name}_0" in file else "nothing"
        raise DataError(path, field=name, expected="an array", found=found)
    if name.startswith("actions"):
        check_continuous(stored.dtype, name, path)
    values = read_values(stored, name, path, floats=not flags)
    return checked_field(values, name, path, rank, flags=flags)


def _replay_buffer(file: h5py.File, path) -> Episodes:
    parts: dict[str, dict[str, np.ndarray]] = {name: {} for name in _RANKS}
    terminated = []
    for episode in range(_num_episodes(file, path)):
        arrays = {
            f"{name}_{episode}": _array(file, f"{name}_{episode}", path, rank)
            for name, rank in _RANKS.items()
        }
        check_rows(arrays, path)
        for name, found in parts.items():
            found[f"{name}_{episode}"] = arrays[f"{name}_{episode}"]
        terminated.append(_terminated(file, f"terminated_{episode}", path))
    ends = last_rows([len(rewards) for rewards in parts["rewards"].values()])
    terminals = ends.copy()
    terminals[ends] = terminated
    fields = {name: join(found, path) for name, found in parts.items()}
    return whole_episodes(fields, terminals, ends, path)


def _num_episodes(file: h5py.File, path) -> int:
    count = np.asarray(file["num_episodes"][()])
    if count.dtype.kind not in "iu" or count.ndim or count < 1:
        raise DataError(
            path, field="num_episodes", expected="1 or more", found=str(count)[:40]
        )
    return int(count)


def _terminated(file: h5py.File, name: str, path) -> bool:
    stored = file.get(name)
    if not isinstance(stored, h5py.Dataset) or stored.size != 1:
        found = "nothing" if stored is None else "no single value"
        raise DataError(path, field=name, expected="0 or 1", found=found)
    flag = np.asarray(stored[()]).reshape(1)
    return bool(checked_field(flag, name, path, 1, flags=True)[0])


def _mdp_dataset(file: h5py.File, path) -> Episodes:
    fields = {name: _array(file, name, path, rank) for name, rank in _RANKS.items()}
    terminals = _array(file, "terminals", path, 1, flags=True)
    ends = terminals
    if "episode_terminals" in file:
        ends = _array(file, "episode_terminals", path, 1, flags=True)
    named = {**fields, "terminals": terminals, "episode_terminals": ends}
    check_rows(named, path)
    # As in d3rlpy, a terminal ends an episode without the other flag, too.
    return whole_episodes(fields, terminals, ends | terminals, path)
