"""Files that appear only when they are complete."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ractd_jax.errors import DataError


def write_json(path: str | os.PathLike, content) -> None:
    """Writes JSON that appears only when complete.

    Raises:
      OSError: it cannot be written; nothing is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file that appears only when complete, and on the disk.

    Raises:
      OSError: it cannot be written; nothing is left behind.
    """
    # Its own for each process, as several may write the same table.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes a file that appears only when complete.

    Raises:
      DataError: it cannot be written; nothing is left behind.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.tmp")
    check_writable(path)
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(
            path, expected="a file that can be written", found=error
        ) from None


def check_writable(path: str | os.PathLike) -> None:
    """Makes the folders above `path`, and checks that the file can be written.

    Raises:
      DataError: it cannot be written. The file itself is neither made nor changed.
    """
    path = Path(path)
    probe = path.with_name(f"{path.name}.tmp")
    try:
        if path.is_dir():
            raise IsADirectoryError("a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DataError(
            path, expected="a file that can be written", found=error
        ) from None
