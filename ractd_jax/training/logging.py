"""Metrics: JSON lines and TensorBoard always, Weights & Biases on request."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import custom_scalars, scalar

from ractd_jax.files import write_text

# Tag -> the term's name in README.md, which is the paper's where it has the term.
_TERMS = {
    "loss/ctm": "L_CTM",
    "loss/dsm": "L_DSM",
    "loss/reward": "L_Reward",
    "loss/path": "L_path",
    "loss/total": "L",
}


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

    Tags are the names of ``metrics.jsonl``. The tab "Custom Scalars" shows those of the
    student's terms under their names in the paper.

    tensorboardX's own writer has a thread that ends when the disk is full, after which
    its caller waits for ever.
    """

    def __init__(self, directory: Path, purge_step: int):
        directory.mkdir(parents=True, exist_ok=True)
        # Not the file of another start in the same second.
        suffix = f".{os.getpid()}.{time.monotonic_ns()}"
        self._events = EventsWriter(str(directory / "events"), suffix)
        self._titled: set[str] = set()
        session = SessionLog(status=SessionLog.START)
        self._add(Event(step=purge_step, file_version="brain.Event:2"))
        self._add(Event(step=purge_step, session_log=session))
        self._events.flush()

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        if terms := _TERMS.keys() & scalars.keys() - self._titled:
            self._titled |= terms
            self._add(Event(step=step, summary=_layout(self._titled)))
        for name, value in scalars.items():
            self._add(Event(step=step, summary=scalar(name, value)))
        self._events.flush()

    def close(self) -> None:
        self._events.close()

    def _add(self, event) -> None:
        event.wall_time = time.time()
        self._events.write_event(event)


def _layout(tags: Collection[str]) -> Summary:
    """A chart for each of these terms, under its name in the paper."""
    charts = {
        name: ["Multiline", [f"^{tag}$"]] for tag, name in _TERMS.items() if tag in tags
    }
    return custom_scalars({"Losses": charts})


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
