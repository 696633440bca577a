"""Writes the results of sweeps and benchmarks, for :mod:`results_table` to read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ractd_jax.evaluation.results import save_arrays
from ractd_jax.files import check_writable, write_text
from ractd_jax.reports.results_table import RETURNS, ROWS
from ractd_jax.reports.statistics import normalized_score
from ractd_jax.settings import Settings


def result_row(
    name: str,
    params: dict[str, Any],
    seed: int,
    settings: Settings,
    step: int,
    last: bool,
    returns: np.ndarray | None,
) -> dict[str, Any]:
    """A row of results.jsonl: one evaluation of one training.

    Args:
      name: name of the training.
      params: parameters that distinguish it, besides the seed.
      seed: seed of the training.
      settings: task, environment and reference returns.
      step: step of the checkpoint.
      last: whether it is the training's last.
      returns: [E] raw returns; None for a training that is not finite.
    """
    environment = settings.environment
    finite = returns is not None
    return {
        "name": name,
        "params": params,
        "seed": seed,
        "task": settings.task,
        "environment": environment.id,
        "step": step,
        "last": last,
        "finite": finite,
        "num_episodes": len(returns) if finite else 0,
        "return_mean": float(returns.mean()) if finite else None,
        "score_mean": float(normalized_score(returns, environment).mean())
        if finite
        else None,
        "score_min": environment.score_min,
        "score_max": environment.score_max,
    }


class ResultsWriter:
    """Writes results.jsonl and returns.npz of a folder, each row once.

    Rows that the folder already has are kept.

    Raises:
      DataError: the two files cannot be written.
    """

    def __init__(self, folder: str | os.PathLike):
        self._rows_path = Path(folder) / ROWS
        self._returns_path = Path(folder) / RETURNS
        check_writable(self._rows_path, self._returns_path)
        self._rows, self._returns = {}, {}
        if self._returns_path.exists():
            with np.load(self._returns_path, allow_pickle=False) as stored:
                self._returns = dict(stored)
        if self._rows_path.exists():
            for line in self._rows_path.read_text().splitlines():
                row = json.loads(line)
                self._rows[f"{row['name']}@{row['step']}"] = row

    def has(self, name: str, step: int) -> bool:
        return f"{name}@{step}" in self._rows

    def episodes(self) -> set[int]:
        """Numbers of episodes that the rows are of."""
        return {row["num_episodes"] for row in self._rows.values() if row["finite"]}

    def add(self, row: dict[str, Any], returns: np.ndarray | None) -> None:
        """Takes a :func:`result_row` and its raw returns."""
        key = f"{row['name']}@{row['step']}"
        self._rows[key] = row
        if returns is not None:
            self._returns[key] = returns

    def write(self) -> None:
        """Both files appear only when complete; rows have their returns."""
        save_arrays(self._returns_path, self._returns)
        rows = [json.dumps(row) + "\n" for row in self._rows.values()]
        write_text(self._rows_path, "".join(rows))
