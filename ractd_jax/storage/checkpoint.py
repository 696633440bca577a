"""The only place that knows orbax: saving, resuming and reading checkpoints.

A checkpoint is a folder ``checkpoints/STEP`` that gets this name when everything in it
is on the disk, its manifest of digests included (:mod:`ractd_jax.storage.manifest`).
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging

from ractd_jax.errors import CheckpointError
from ractd_jax.paths import local_path
from ractd_jax.processes import check_devices, is_first_process
from ractd_jax.storage.manifest import find_damage, manifest_digest, write_manifest
from ractd_jax.storage.state import TrainState

FOLDER = "checkpoints"
# Suffixes of checkpoints that are being written or removed.
_SAVING, _REMOVED = "saving", "removed"


def _items(state: TrainState) -> dict[str, Any]:
    """A state as items that are stored separately, so that a reader can load one."""
    rest = {"step": state.step, "opt_state": state.opt_state}
    if state.target_params is not None:
        rest["target_params"] = state.target_params
    return {"params": state.params, "ema_params": state.ema_params, "rest": rest}


def _state(items: Any) -> TrainState:
    rest = items["rest"]
    return TrainState(
        step=rest["step"],
        params=items["params"],
        ema_params=items["ema_params"],
        target_params=rest.get("target_params"),
        opt_state=rest["opt_state"],
    )


def _steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in a folder, the newest first."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    steps = (int(name) for name in names if name.isascii() and name.isdecimal())
    # Not 08: that is no name of ours.
    return sorted((step for step in steps if str(step) in names), reverse=True)


class Checkpointer:
    """Checkpoints of one training, the newest `keep` of them.

    Attributes:
      metadata: the metadata of the restored checkpoint, or None.
      restored_step: the step of the restored checkpoint, or None.
    """

    def __init__(self, workdir: str | os.PathLike, keep: int = 2):
        self._directory = Path(os.path.abspath(workdir)) / FOLDER
        self._keep = max(1, keep)
        self._orbax = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
        self._thread: threading.Thread | None = None
        self._failure: CheckpointError | None = None
        self.metadata: dict | None = None
        self.restored_step: int | None = None
        if is_first_process():
            self._directory.mkdir(parents=True, exist_ok=True)
            self._remove_unfinished()

    def latest_step(self) -> int | None:
        """The newest step with a checkpoint, whole or not."""
        return max(_steps(self._directory), default=None)

    def save(self, state: TrainState, metadata: dict, step: int | None = None) -> None:
        """Saves in the background; a half-written checkpoint never gets its name.

        Args:
          state: the state that :meth:`restore` will return.
          metadata: JSON-able data to save with it; gets ``workdir``, the folder.
          step: the checkpoint's step, where the state holds several trainings.

        Raises:
          CheckpointError: this save or the previous one could not be written.
        """
        self.wait()
        items = {
            name: ocp.args.StandardSave(item) for name, item in _items(state).items()
        }
        step = int(state.step) if step is None else step
        # What it was built on is then found beside it, wherever the folder moves.
        metadata = {**metadata, "workdir": str(self._directory.parent)}
        args = ocp.args.Composite(**items, metadata=ocp.args.JsonSave(metadata))
        try:
            self._orbax.save(self._path(step, _SAVING), args=args, force=True)
        # orbax and tensorstore report a full disk by many kinds of errors.
        except Exception as error:
            raise self._not_saved(step, error) from error
        self._thread = threading.Thread(target=self._finish, args=(step,))
        self._thread.start()

    def wait(self) -> None:
        """Waits for the save under way.

        Raises:
          CheckpointError: it could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            if jax.process_count() > 1:
                ocp.multihost.sync_global_processes("ractd_jax:checkpoint_is_named")
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def restore(self, target: TrainState) -> TrainState | None:
        """The newest whole checkpoint, or None if there is none at all.

        `target` gives the shapes, dtypes and shardings to restore with.

        A damaged one is skipped with a warning, and removed once an older one could
        be read, so that training can save that step again.

        Raises:
          CheckpointError: there are checkpoints and none is whole, or the newest
            whole one does not fit `target`.
        """
        step, damaged = _newest_whole(self._directory)
        if step is None:
            return None
        args = ocp.args.Composite(
            **{
                name: ocp.args.StandardRestore(item)
                for name, item in _items(target).items()
            },
            metadata=ocp.args.JsonRestore(),
        )
        restored = _read(self._orbax, self._path(step), args)
        self.metadata = restored["metadata"]
        if is_first_process():
            for bad in damaged:
                self._remove(bad)
        self.restored_step = step
        return _state(restored)

    def close(self) -> None:
        """Waits for the save under way.

        Raises:
          CheckpointError: it could not be written.
        """
        try:
            self.wait()
        finally:
            self._orbax.close()
            if is_first_process():
                # After a failed save, some of its writes may have come late.
                self._remove_unfinished()

    def _path(self, step: int, suffix: str = "") -> Path:
        return self._directory / (f"{step}.{suffix}" if suffix else str(step))

    def _finish(self, step: int) -> None:
        """Waits for the save, adds the manifest, names it, removes old checkpoints."""
        try:
            self._orbax.wait_until_finished()
            if is_first_process():
                saving = self._path(step, _SAVING)
                write_manifest(saving, step)
                os.rename(saving, self._path(step))
                _sync_folder(self._directory)
                for old in _steps(self._directory)[self._keep :]:
                    self._remove(old)
        except Exception as error:
            self._failure = self._not_saved(step, error)
            self._failure.__cause__ = error

    def _not_saved(self, step: int, error: Exception) -> CheckpointError:
        """The error to raise; what was written of the checkpoint is removed."""
        if is_first_process():
            self._remove_unfinished()
        return CheckpointError(
            f"{self._directory}: step {step} could not be saved ({_reason(error)}); "
            f"the checkpoints before it are whole: {_steps(self._directory)}"
        )

    def _remove(self, step: int) -> None:
        """Renames, then removes a checkpoint, so that a kill leaves no half of one."""
        removed = self._path(step, _REMOVED)
        shutil.rmtree(removed, ignore_errors=True)
        os.rename(self._path(step), removed)
        shutil.rmtree(removed, ignore_errors=True)

    def _remove_unfinished(self) -> None:
        """Removes what a kill or a full disk left of saves and removals."""
        for ending in (f".{_SAVING}*", f".{_REMOVED}"):
            for path in self._directory.glob(f"[0-9]*{ending}"):
                shutil.rmtree(path, ignore_errors=True)


class StoredModel:
    """Read access to the newest whole checkpoint of a training's folder.

    Attributes:
      directory: the training's folder.
      metadata: what was saved beside the weights: ``stage``, ``settings``,
        ``normalizers``, ``dimensions`` and the stage's own entries.
      step: the checkpoint's step.
      sha256: the checkpoint's digest.

    Raises:
      CheckpointError: there is no checkpoint, or none that is whole.
      ConfigError: `directory` is no local path, or JAX has no device.
    """

    def __init__(self, directory: str | os.PathLike):
        check_devices()
        directory = local_path(directory, "directory")
        self.directory = Path(directory)
        folder = Path(os.path.abspath(directory)) / FOLDER
        if not folder.exists():
            raise CheckpointError(
                f"{directory}: expected a folder of a training with '{FOLDER}' in it"
            )
        step, _ = _newest_whole(folder)
        if step is None:
            raise CheckpointError(f"{folder}: expected a checkpoint, found none")
        self.step = step
        self._path = folder / str(step)
        self.sha256 = manifest_digest(self._path)
        self._orbax = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
        args = ocp.args.Composite(metadata=ocp.args.JsonRestore())
        self.metadata: dict = _read(self._orbax, self._path, args)["metadata"]

    def load(self, template: Any, weights: str = "ema") -> Any:
        """The ``ema`` or ``raw`` parameters, shaped as `template`.

        Raises:
          CheckpointError: the checkpoint holds parameters of another shape.
        """
        item = {"ema": "ema_params", "raw": "params"}[weights]
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        template = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=sharding
            ),
            template,
        )
        args = ocp.args.Composite(**{item: ocp.args.StandardRestore(template)})
        return _read(self._orbax, self._path, args)[item]


def _newest_whole(folder: Path) -> tuple[int | None, list[int]]:
    """(step of the newest whole checkpoint, newer ones that are damaged).

    Raises:
      CheckpointError: there are checkpoints, and none is whole.
    """
    damages = {}
    for step in _steps(folder):
        damage = find_damage(folder / str(step), step)
        if not damage:
            return step, list(damages)
        logging.warning(
            "checkpoint %s is damaged (%s); trying the one before",
            folder / str(step),
            damage,
        )
        damages[step] = damage
    if damages:
        newest = next(iter(damages))
        raise CheckpointError(
            f"{folder}: none of the checkpoints {list(damages)} can be read; "
            f"{newest}/{damages[newest]}"
        )
    return None, []


def _read(checkpointer: ocp.Checkpointer, path: Path, args) -> Any:
    try:
        restored = checkpointer.restore(path, args=args)
        jax.block_until_ready(jax.tree.leaves(dict(restored.items())))
        return restored
    # orbax and tensorstore report what does not fit by many kinds of errors.
    except Exception as error:
        raise CheckpointError(
            f"{path}: an intact checkpoint, but not of what this config expects "
            f"({', '.join(args.keys())}): {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """An error's first line, or the system's message in a long tensorstore error."""
    code = re.search(r"os_error_code='(\d+)'", str(error))
    lines = [os.strerror(int(code[1]))] if code else str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


def _sync_folder(folder: Path) -> None:
    """Syncs a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
