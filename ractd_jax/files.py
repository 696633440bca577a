"""Files that appear only when they are complete."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ractd_jax.errors import DataError


def with_ending(path: str | os.PathLike, ending: str) -> Path:
    """`path`, which has no suffix even where its name has a dot, with `ending`."""
    path = Path(path)
    return path.with_name(path.name + ending)


@contextlib.contextmanager
def completed(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a path of the same suffix to write to, which then becomes `path`.

    The folders above it are made.

    Raises:
      OSError: it cannot be written; nothing is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Its own for each process, as several may write the same table.
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: str | os.PathLike, content) -> None:
    """Writes JSON that appears only when complete.

    Raises:
      OSError: it cannot be written; nothing is left behind.
    """
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file that appears only when complete, and on the disk.

    Raises:
      OSError: it cannot be written; nothing is left behind.
    """
    with completed(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def save_figure(figure, path: str | os.PathLike, dpi: int) -> None:
    """Writes a matplotlib figure that appears only when complete.

    Raises:
      OSError: it cannot be written; nothing is left behind.
    """
    with completed(path) as temporary:
        figure.savefig(temporary, dpi=dpi)


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes a file that appears only when complete.

    Raises:
      DataError: it cannot be written; nothing is left behind.
    """
    check_writable(path)
    try:
        with completed(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise _not_writable(path, error) from None


def check_writable(*paths: str | os.PathLike) -> None:
    """Checks that files can be written, before the work whose results they hold.

    Neither the files nor the folders above them are made or changed.

    Raises:
      DataError: one cannot be written.
    """
    for path in map(Path, paths):
        try:
            if path.is_dir():
                raise IsADirectoryError("a folder")
            _check_folder(path.absolute().parent)
            with contextlib.suppress(FileNotFoundError):
                path.lstat()  # a name may be too long
        except OSError as error:
            raise _not_writable(path, error) from None


def _check_folder(folder: Path) -> None:
    """Raises OSError where no file could be made in `folder`, were it there."""
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}, which is no folder")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None


def _not_writable(path: str | os.PathLike, error: OSError) -> DataError:
    return DataError(path, expected="a file that can be written", found=error)
