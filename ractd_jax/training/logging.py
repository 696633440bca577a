"""Metrics: JSON lines and TensorBoard always, Weights & Biases on request."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from ractd_jax.files import write_text


class MetricWriter:
    """Writes one row of scalars per logged step.

    Args:
      directory: gets ``metrics.jsonl`` and TensorBoard event files.
      start_step: rows of later steps are dropped, as a resumed run writes them again.
      wandb_config: settings to log to Weights & Biases with, or None.
    """

    def __init__(self, directory: Path, start_step: int, wandb_config=None):
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "metrics.jsonl"
        keep_rows(self._path, start_step)
        self._board = _Board(directory / "tensorboard", start_step + 1)
        self._wandb = None
        if wandb_config is not None:
            import wandb

            self._wandb = wandb.init(
                project="ractd_jax", dir=directory, config=wandb_config
            )

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        row = {"step": step, **{name: float(v) for name, v in scalars.items()}}
        with open(self._path, "a") as file:
            file.write(json.dumps(row) + "\n")
            # Before the checkpoint of this step: no row is ever missing.
            file.flush()
            os.fsync(file.fileno())
        self._board.write(step, scalars)
        if self._wandb is not None:
            self._wandb.log(dict(scalars), step=step)

    def close(self) -> None:
        self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


class _Board:
    """TensorBoard scalars, written at once.

    tensorboardX's own writer has a thread that ends when the disk is full, after which
    its caller waits for ever.
    """

    def __init__(self, directory: Path, purge_step: int):
        directory.mkdir(parents=True, exist_ok=True)
        # Not the file of another start in the same second.
        suffix = f".{os.getpid()}.{time.monotonic_ns()}"
        self._events = EventsWriter(str(directory / "events"), suffix)
        session = SessionLog(status=SessionLog.START)
        self._add(Event(step=purge_step, file_version="brain.Event:2"))
        self._add(Event(step=purge_step, session_log=session))
        self._events.flush()

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._add(Event(step=step, summary=scalar(name, value)))
        self._events.flush()

    def close(self) -> None:
        self._events.close()

    def _add(self, event) -> None:
        event.wall_time = time.time()
        self._events.write_event(event)


def keep_rows(path: Path, last_step: int) -> None:
    """Drops rows after `last_step`, and a last row that a kill cut off."""
    if not path.exists():
        return
    text, kept = path.read_text(errors="replace"), []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if row["step"] <= last_step:
            kept.append(line + "\n")
    if "".join(kept) != text:
        write_text(path, "".join(kept))


def check_finite(scalars: Mapping[str, float], first_step: int, step: int) -> None:
    """Raises FloatingPointError naming what is not finite, and in which steps."""
    bad = [name for name, value in scalars.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(
            f"{', '.join(bad)} not finite in steps {first_step + 1}..{step}"
        )
