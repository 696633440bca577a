"""Metrics: JSON lines and TensorBoard always, Weights & Biases on request."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter


class MetricWriter:
    """Writes one row of scalars per logged step.

    Args:
      directory: gets ``metrics.jsonl`` and TensorBoard event files.
      start_step: rows of later steps are dropped: a resumed run writes them again.
      wandb_config: settings to log to Weights & Biases with, or None.
    """

    def __init__(self, directory: Path, start_step: int, wandb_config=None):
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "metrics.jsonl"
        _keep_rows(self._path, start_step)
        self._board = SummaryWriter(
            str(directory / "tensorboard"), purge_step=start_step + 1
        )
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
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(dict(scalars), step=step)

    def close(self) -> None:
        self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def _keep_rows(path: Path, last_step: int) -> None:
    """Drops rows after `last_step`, and one that a kill cut off."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if row["step"] <= last_step:
            kept.append(line + "\n")
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(kept))
    os.replace(temporary, path)


def check_finite(scalars: Mapping[str, float], first_step: int, step: int) -> None:
    """Raises FloatingPointError naming what is not finite, and in which steps."""
    bad = [name for name, value in scalars.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(
            f"{', '.join(bad)} not finite in steps {first_step + 1}..{step}"
        )
