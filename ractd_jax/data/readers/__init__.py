"""Readers of datasets, one for each value of ``config.dataset.source``.

A further format is a function in a file of its own and a line in ``READERS``, or,
from outside the package, a call of :func:`register_reader`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ractd_jax.data.d4rl_hdf5 import load_d4rl_hdf5
from ractd_jax.data.episodes import Episodes
from ractd_jax.data.minari_source import load_minari
from ractd_jax.data.origin import Origin
from ractd_jax.data.readers.d3rlpy import read_d3rlpy
from ractd_jax.data.readers.lerobot import read_lerobot
from ractd_jax.data.readers.ogbench import read_ogbench
from ractd_jax.data.readers.robomimic import read_robomimic
from ractd_jax.errors import ConfigError
from ractd_jax.settings import Dataset

_CHOICES = ("observation_keys", "filter_key")
# (settings of the dataset, rule for Dict observations) -> what was read.
ReadFn = Callable[[Dataset, str], tuple[Episodes, Origin]]


class Reader(NamedTuple):
    """How a source is read.

    Attributes:
      read: (settings of the dataset, rule for Dict observations as in
        ``ractd_jax/tasks/flatten.py``) -> episodes and their origin.
      field: of ``config.dataset``, what names the data.
      takes: those of its fields ``observation_keys`` and ``filter_key`` that it reads.
    """

    read: ReadFn
    field: str = "path"
    takes: tuple[str, ...] = ()


def _read_minari(options: Dataset, flatten: str) -> tuple[Episodes, Origin]:
    return load_minari(
        options.id, options.root, flatten=flatten, download=options.download
    )


def _read_d4rl(options: Dataset, flatten: str) -> tuple[Episodes, Origin]:
    return load_d4rl_hdf5(options.path, options.max_episode_steps)


READERS: dict[str, Reader] = {
    "minari": Reader(_read_minari, "id"),
    "d4rl": Reader(_read_d4rl),
    "ogbench": Reader(read_ogbench),
    "robomimic": Reader(read_robomimic, takes=_CHOICES),
    "d3rlpy": Reader(read_d3rlpy),
    "lerobot": Reader(read_lerobot, takes=("observation_keys",)),
}


def register_reader(source: str, reader: Reader) -> None:
    """Makes a format known to this process; one of the same name is replaced.

    Args:
      source: its name, for ``config.dataset.source``.
      reader: how it is read.
    """
    READERS[source] = reader


def read_source(options: Dataset, flatten: str) -> tuple[str, Episodes, Origin]:
    """Reads the dataset that the settings name.

    Args:
      options: ``config.dataset``.
      flatten: rule for Dict observations.

    Returns:
      The dataset's name, its episodes and its origin.

    Raises:
      ConfigError: the source is unknown, the field that names the data is empty, or
        another one is given that the reader does not take.
      DataError: the dataset is missing or unusable.
    """
    reader = READERS.get(options.source)
    if reader is None:
        raise ConfigError(
            f"config.dataset.source: expected one of {', '.join(READERS)}, or one that "
            "the program has registered (ractd_jax.data.readers.register_reader), "
            f"found {options.source!r}"
        )
    name = getattr(options, reader.field)
    if not name:
        raise ConfigError(
            f"config.dataset.{reader.field}: expected a dataset, as "
            f"config.dataset.source is {options.source!r}, found nothing"
        )
    for field in _CHOICES:
        given = getattr(options, field)
        if given and field not in reader.takes:
            raise ConfigError(
                f"config.dataset.{field}: expected nothing, as config.dataset.source "
                f"is {options.source!r}, found {given!r}"
            )
    return name, *reader.read(options, flatten)
