"""The only place that knows orbax: saving, resuming and reading checkpoints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from orbax.checkpoint import checkpoint_managers

from ractd_jax.errors import CheckpointError
from ractd_jax.training.state import TrainState

FOLDER = "checkpoints"


def _items(state: TrainState) -> dict[str, Any]:
    """A state as separately stored items, so that a reader takes one of them."""
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


class Checkpointer:
    """Checkpoints of one training, the newest `keep` of them.

    Attributes:
      restored_step: of the checkpoint that :meth:`restore` gave, or None.
    """

    def __init__(self, workdir: str | os.PathLike, keep: int = 2):
        self._directory = epath.Path(os.path.abspath(workdir)) / FOLDER
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.LatestN(keep), create=True
        )
        self._manager = ocp.CheckpointManager(self._directory, options=options)
        self.restored_step: int | None = None

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def save(self, state: TrainState, metadata: dict, step: int | None = None) -> None:
        """Saves in the background; a half-written checkpoint never gets its name.

        Args:
          state: what :meth:`restore` gives back.
          metadata: JSON-able, saved with it.
          step: its name, when the state is of several trainings.
        """
        items = {
            name: ocp.args.StandardSave(item) for name, item in _items(state).items()
        }
        self._manager.save(
            int(state.step) if step is None else step,
            args=ocp.args.Composite(**items, metadata=ocp.args.JsonSave(metadata)),
        )

    def restore(self, target: TrainState) -> TrainState | None:
        """The newest whole checkpoint, or None if there is none at all.

        `target` is a state of shapes, dtypes and shardings, as which it is restored.

        A damaged one is skipped with a warning, and removed once an older one could
        be read, so that training can save that step again.

        Raises:
          CheckpointError: there are checkpoints, and none can be read.
        """
        items = _items(target)
        args = ocp.args.Composite(
            **{name: ocp.args.StandardRestore(item) for name, item in items.items()}
        )
        damaged = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                restored = _state(self._manager.restore(step, args=args))
                jax.block_until_ready(restored)
            # orbax and tensorstore report damage by many kinds of errors.
            except Exception as error:
                _warn_damaged(self._directory / str(step), error)
                damaged.append(step)
                continue
            for bad in damaged:
                self._manager.delete(bad)
            self.restored_step = step
            return restored
        if damaged:
            raise CheckpointError(
                f"{self._directory}: none of the checkpoints {damaged} can be read"
            )
        return None

    def close(self) -> None:
        """Waits for the save under way."""
        self._manager.wait_until_finished()
        self._manager.close()


def _warn_damaged(path, error: Exception) -> None:
    reason = str(error).splitlines()[0] if str(error) else ""
    logging.warning(
        "checkpoint %s is damaged (%s: %s); trying the one before",
        path,
        type(error).__name__,
        reason[:200],
    )


class StoredModel:
    """Read access to the newest whole checkpoint of a training's folder.

    Attributes:
      directory: the training's folder.
      metadata: what was saved beside the weights: ``stage``, ``settings``,
        ``normalizers``, ``dimensions`` and the stage's own entries.

    Raises:
      CheckpointError: there is no checkpoint, or none whose metadata can be read.
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(directory)
        folder = epath.Path(os.path.abspath(directory)) / FOLDER
        if not folder.exists():
            raise CheckpointError(
                f"{directory}: expected a folder of a training with '{FOLDER}' in it"
            )
        self._manager = ocp.CheckpointManager(folder)
        self._steps = sorted(self._manager.all_steps(), reverse=True)
        if not self._steps:
            raise CheckpointError(f"{folder}: expected a checkpoint, found none")
        restored = self._newest({"metadata": ocp.args.JsonRestore()})
        self.metadata: dict = restored["metadata"]

    def load(self, template: Any, weights: str = "ema") -> Any:
        """The ``ema`` or ``raw`` parameters, shaped as `template`.

        Raises:
          CheckpointError: no checkpoint holds parameters of this shape.
        """
        item = {"ema": "ema_params", "raw": "params"}[weights]
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        template = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=sharding
            ),
            template,
        )
        return self._newest({item: ocp.args.StandardRestore(template)})[item]

    def _newest(self, items: dict) -> Any:
        for step in self._steps:
            try:
                restored = self._manager.restore(step, args=ocp.args.Composite(**items))
                jax.block_until_ready(list(restored.values()))
                self.step = step
                return restored
            # orbax and tensorstore report damage by many kinds of errors.
            except Exception as error:
                _warn_damaged(self.directory / FOLDER / str(step), error)
        raise CheckpointError(
            f"{self.directory}: none of the checkpoints {self._steps} can be read as "
            f"{', '.join(items)}"
        )
