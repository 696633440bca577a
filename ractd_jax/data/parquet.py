"""Columns of parquet files as numpy arrays, read with pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ractd_jax.errors import ConfigError, DataError


def read_columns(
    files: Sequence[Path], names: Sequence[str], source: object
) -> dict[str, np.ndarray]:
    """The columns of all `files`, one file after the other.

    Args:
      files: parquet files, at least one.
      names: of the columns.
      source: the dataset, named in errors about several files.

    Returns:
      Name -> [N] numbers, or [N, K] of a column of vectors.

    Raises:
      ConfigError: pyarrow is not installed.
      DataError: a file is damaged, lacks a column, or holds other than numbers and
        vectors of one size.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for path in files:
        table = _read_table(path, names)
        for name in names:
            parts[name].append(_values(table[name], name, path))
    for name, found in parts.items():
        shapes = {part.shape[1:] for part in found}
        if len(shapes) > 1:
            raise DataError(
                source,
                field=name,
                expected="vectors of one size in all files",
                found=f"shapes {sorted(shapes)}",
            )
    return {name: np.concatenate(found) for name, found in parts.items()}


def _read_table(path: Path, names: Sequence[str]):
    try:
        from pyarrow import parquet
    except ImportError:
        raise ConfigError(
            "config.dataset.source: expected pyarrow for parquet files "
            "(pip install ractd_jax[lerobot]), found none"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            missing = sorted(set(names) - set(file.schema_arrow.names))
            table = None if missing else file.read(columns=list(names))
    # pyarrow has an exception for each kind of damage.
    except Exception as error:
        reason = str(error).splitlines() or [""]
        raise DataError(
            path,
            expected="a whole parquet file",
            found=f"{type(error).__name__}: {reason[0]}",
        ) from None
    if missing:
        raise DataError(path, field=missing[0], expected="a column", found="nothing")
    return table


def _values(column, name: str, path: Path) -> np.ndarray:
    """[N] numbers, or [N, K] of a column of vectors."""
    from pyarrow import compute, types

    values, width = column.combine_chunks(), None
    kind = values.type
    if (
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
    ):
        widths = compute.unique(compute.list_value_length(values)).to_pylist()
        if len(widths) != 1 or widths[0] is None:
            found = f"sizes {', '.join(map(str, widths[:5])) or 'of no rows'}"
            raise DataError(
                path, field=name, expected="vectors of one size", found=found
            )
        width, values = widths[0], values.flatten()
    kind = values.type
    if not (
        types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    ):
        raise DataError(path, field=name, expected="numbers or vectors", found=kind)
    if values.null_count:
        raise DataError(
            path, field=name, expected="numbers", found=f"{values.null_count} nulls"
        )
    array = values.to_numpy(zero_copy_only=False)
    return array if width is None else array.reshape(len(column), width)
