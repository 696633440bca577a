"""OGBench's npz files: goal-conditioned sets, and single tasks with their rewards.

Steps are rows of ``observations`` [N, O] and ``actions`` [N, A]. A trajectory ends
where ``terminals`` is 1: always after a fixed number of steps, so that is a timeout.
In the compact form of ``ogbench.make_env_and_datasets``, where ``terminals`` marks the
last two rows, it ends where ``valids`` is 0. A file with ``rewards`` has ``masks`` too:
0 where the task is done, which is a terminal, though the trajectory goes on.
"""

from __future__ import annotations

import os

import numpy as np

from ractd_jax.data.episodes import (
    Episodes,
    check_continuous,
    check_rows,
    checked_field,
)
from ractd_jax.data.origin import Origin
from ractd_jax.data.readers.fields import no_rewards, whole_episodes
from ractd_jax.errors import DataError
from ractd_jax.settings import Dataset

# name -> (rank, whether it holds flags); the others are optional.
_FIELDS = {
    "observations": (2, False),
    "actions": (2, False),
    "terminals": (1, True),
    "rewards": (1, False),
    "masks": (1, True),
    "valids": (1, True),
}
_REQUIRED = ("observations", "actions", "terminals")


def read_ogbench(options: Dataset, flatten: str) -> tuple[Episodes, Origin]:
    """Reads one npz file. It names no environment.

    Args:
      options: with the file's ``path``.
      flatten: not used: observations are vectors.

    Raises:
      DataError: the file is missing or damaged, lacks a field, or holds images,
        discrete actions, or values that are no finite float32 numbers.
    """
    path = options.path
    arrays = {}
    for name, array in _load(path).items():
        if name == "actions":
            check_continuous(array.dtype, name, path)
        rank, flags = _FIELDS[name]
        arrays[name] = checked_field(array, name, path, rank, flags=flags)
    check_rows(arrays, path)
    length = len(arrays["observations"])
    ends = ~arrays["valids"] if "valids" in arrays else arrays["terminals"]
    done = ~arrays["masks"] if "masks" in arrays else np.zeros(length, bool)
    has_rewards = "rewards" in arrays
    rewards = arrays["rewards"] if has_rewards else no_rewards(length, "rewards", path)
    fields = {name: arrays[name] for name in ("observations", "actions")}
    episodes = whole_episodes({**fields, "rewards": rewards}, done, ends, path)
    return episodes, Origin(has_rewards=has_rewards)


def _load(path: str) -> dict[str, np.ndarray]:
    """The arrays of :data:`_FIELDS` that the file holds, as they are stored."""
    expected = "a whole npz file of OGBench"
    if not os.path.isfile(path):
        found = "a folder" if os.path.isdir(path) else "no such file"
        raise DataError(path, expected=expected, found=found)
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = {name: file[name] for name in _FIELDS if name in file.files}
    # zipfile, zlib and numpy report damage each in their own way.
    except Exception as error:
        raise DataError(
            path, expected=expected, found=f"{type(error).__name__}: {error}"
        ) from None
    for name in _REQUIRED:
        if name not in stored:
            raise DataError(path, field=name, expected="an array", found="nothing")
    return stored
