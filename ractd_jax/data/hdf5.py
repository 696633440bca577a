"""HDF5 files: opened and read so that damage is one line, in blocks of float32."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import h5py
import numpy as np

from ractd_jax.data.episodes import as_float32
from ractd_jax.errors import DataError

# What zlib and HDF5's fill values can make of stored bytes; beyond it a size is damage.
_MAX_EXPANSION, _FREE_BYTES = 1100, 2**24


@contextlib.contextmanager
def open_hdf5(path: str | os.PathLike, expected: str) -> Iterator[h5py.File]:
    """The file, open for reading.

    Args:
      path: the file.
      expected: what it should be, in words, for the error.

    Raises:
      DataError: the file is missing, or h5py finds it damaged, here or in the block.
    """
    if not os.path.isfile(path):
        found = "a folder" if os.path.isdir(path) else "no such file"
        raise DataError(path, expected=expected, found=found)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except DataError:
        raise
    # h5py reports damage as whatever its C library trips over.
    except Exception as error:
        raise DataError(
            path, expected="a whole HDF5 file", found=f"{type(error).__name__}: {error}"
        ) from None


def read_values(stored: h5py.Dataset, name: str, path, *, floats: bool) -> np.ndarray:
    """The values of a stored array.

    Args:
      stored: the array in the file.
      name: its name in errors.
      path: the file, named in errors.
      floats: whether numbers become float32, block by block.

    Raises:
      DataError: its size is beyond what the file can hold.
    """
    size = stored.size * stored.dtype.itemsize
    if size > _FREE_BYTES + _MAX_EXPANSION * stored.id.get_storage_size():
        raise DataError(
            path,
            field=name,
            expected="no more values than the file can hold",
            found=f"shape {stored.shape}",
        )
    # Whoever checks the values says what is wrong with those that are no numbers.
    if floats and stored.dtype.kind in "fiub" and stored.ndim:
        return as_float32(stored)
    return stored[()]
