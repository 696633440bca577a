"""A training's folder: one training at a time, and one error when it is unusable."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from ractd_jax.errors import CheckpointError, ConfigError, WorkdirError
from ractd_jax.processes import is_first_process

# Settings that say where something lies whose content is known by a digest.
NAMES = tuple(
    f"dataset.{name}" for name in ("source", "id", "root", "path", "download", "critic")
)
# (name, before, now) of a setting.
Change = tuple[str, Any, Any]
_LOCK = ".lock"
_HELD = (errno.EAGAIN, errno.EACCES)


@contextlib.contextmanager
def training_folder(workdir: Path) -> Iterator[None]:
    """Makes `workdir` and keeps other trainings out of it.

    A path with square brackets is refused: orbax would save checkpoints in it and not
    find them again.

    The lock belongs to the process, and the kernel releases it however that ends.

    Raises:
      WorkdirError: the path has square brackets, the folder cannot be made or written
        to, the disk is full, or another training runs in it.
    """
    if set("[]") & set(os.path.abspath(workdir)):
        raise WorkdirError(
            f"{workdir}: expected a path without square brackets, in which no "
            "checkpoint could be read again"
        )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = _lock(workdir) if is_first_process() else None
    except OSError as error:
        raise WorkdirError(
            f"{workdir}: expected a folder that can be written to, found {error}"
        ) from error
    try:
        yield
    except OSError as error:
        raise WorkdirError(
            f"{workdir}: the training stopped as it could not write there ({error}); "
            "its checkpoints are whole, the same command goes on from the newest"
        ) from error
    finally:
        if lock is not None:
            # Not by closing alone: a forked process would keep it.
            fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)


def _lock(workdir: Path) -> int:
    """The locked file's descriptor."""
    descriptor = os.open(workdir / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
                raise WorkdirError(
                    f"{workdir}: another training runs in this folder "
                    f"({holder or 'its process is unknown'}); wait for it or use "
                    "another --workdir"
                ) from None
            # Some network file systems have no locks.
            logging.warning("%s: cannot be locked (%s)", workdir, error)
        os.ftruncate(descriptor, 0)
        os.pwrite(
            descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0
        )
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_same_dataset(
    directory: str | os.PathLike, stored: Mapping, now: Mapping
) -> None:
    """Compares the content of the data a model was trained on with that of a dataset.

    Args:
      directory: the model's folder, named in the error.
      stored: the model's metadata.
      now: metadata of the stage or model that is built on it.

    Raises:
      CheckpointError: they differ.
    """
    name = now.get("dataset", {}).get("name", "")
    before, after = (data.get("dataset", {}).get("sha256") for data in (stored, now))
    if before is None or after is None:
        logging.warning(
            "%s: cannot tell whether it was trained on dataset '%s' as it is now: "
            "no digest of the data was kept",
            directory,
            name,
        )
    elif before != after:
        raise CheckpointError(
            f"{directory}: was trained on other data than dataset '{name}' holds now "
            f"(sha256 {before[:12]} then, {after[:12]} now); restore the data, or "
            "train it again"
        )


def refuse_changes(
    workdir: Path, changes: Sequence[Change], allow_change: bool
) -> None:
    """Raises ConfigError for changes of a folder's config; or warns of them."""
    changed = "; ".join(
        f"{name}: {old!r} then, {new!r} now" for name, old, new in changes
    )
    if changed and not allow_change:
        raise ConfigError(
            f"{workdir} holds a training with another config: {changed}. Use another "
            "--workdir, remove this one, or go on in it with --allow_config_change"
        )
    if changed:
        logging.warning("%s: the config changes: %s", workdir, changed)


def check_resumed(
    workdir: Path,
    stored: Mapping | None,
    now: Mapping,
    allow_change: bool,
    renamed: Sequence[Change] = (),
) -> None:
    """Compares the data of a checkpoint to resume with that of the stage.

    Args:
      workdir: the training's folder.
      stored: the checkpoint's metadata.
      now: the stage's metadata.
      allow_change: whether other data is a warning instead of an error.
      renamed: changes of :data:`NAMES`, which are none if the content is the same.

    Raises:
      CheckpointError: the data differs.
      ConfigError: its name differs, and whether its content does is unknown.
    """
    before, after = _contents(stored or {}), _contents(now)
    others = [
        change
        for change in renamed
        if before[change[0]] is None or before[change[0]] != after[change[0]]
    ]
    try:
        check_same_dataset(workdir, stored or {}, now)
    except CheckpointError as error:
        if not allow_change:
            raise
        logging.warning("%s; continuing anyway", error)
    refuse_changes(workdir, others, allow_change)


def _contents(metadata: Mapping) -> dict[str, str | None]:
    """Digest of what each of :data:`NAMES` names; None where it was not kept."""
    critic = metadata.get("windows", {}).get("critic", {})
    data = metadata.get("dataset", {}).get("sha256")
    return dict.fromkeys(NAMES, data) | {"dataset.critic": critic.get("sha256")}
