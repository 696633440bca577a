"""Reads the results of sweeps over seeds and parameters.

A folder has ``results.jsonl``, a row for each checkpoint of each member, and
``returns.npz`` with that checkpoint's raw episode returns under ``name@step``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ractd_jax.errors import DataError
from ractd_jax.reports.statistics import normalized_score
from ractd_jax.settings import Environment

ROWS, RETURNS = "results.jsonl", "returns.npz"


@dataclasses.dataclass(frozen=True)
class Task:
    """An evaluated task: the dataset, its environment, and the score's references."""

    name: str
    environment: str
    score_min: float
    score_max: float


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One evaluation: scores [E] of its episodes; None where training had diverged."""

    step: int
    scores: np.ndarray | None

    @property
    def score(self) -> float:
        return float(self.scores.mean())

    @property
    def episodes(self) -> int:
        return 0 if self.scores is None else len(self.scores)


@dataclasses.dataclass(frozen=True)
class Member:
    """One training: its parameters as text, and its checkpoints from first to last."""

    source: str
    name: str
    params: Mapping[str, str]
    seed: int
    task: Task
    checkpoints: tuple[Checkpoint, ...]

    @property
    def finite(self) -> bool:
        return self.last.scores is not None

    @property
    def last(self) -> Checkpoint:
        return self.checkpoints[-1]

    @property
    def best(self) -> Checkpoint:
        """The checkpoint with the best evaluation, the first of equal ones."""
        return max(self.evaluated, key=lambda checkpoint: checkpoint.score)

    @property
    def evaluated(self) -> list[Checkpoint]:
        return [c for c in self.checkpoints if c.scores is not None]

    @property
    def episodes(self) -> int:
        return sum(checkpoint.episodes for checkpoint in self.checkpoints)


def as_text(value) -> str:
    """A JSON value as text for tables; equal numbers give equal text."""
    if value is None:
        return "none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value if isinstance(value, str) else json.dumps(value)
    return repr(float(value)).removesuffix(".0")


def read_results(folders: Iterable[str | os.PathLike]) -> list[Member]:
    """The members of all `folders`.

    Raises:
      DataError: a file is missing or damaged, a row does not say what it must, rows
        and returns do not fit each other, or folders disagree about a task.
    """
    members: list[Member] = []
    for folder in folders:
        members += _read_folder(Path(folder))
    tasks: dict[str, Member] = {}
    for member in members:
        first = tasks.setdefault(member.task.name, member)
        if member.task != first.task:
            raise DataError(
                member.source,
                field=member.name,
                expected=f"one environment and reference of a task, as {first.task}",
                found=member.task,
            )
    return members


def _read_folder(folder: Path) -> list[Member]:
    rows = _read_rows(folder / ROWS)
    returns = _read_returns(folder / RETURNS)
    found: dict[str, list[tuple[dict, str]]] = {}
    for row, where in rows:
        found.setdefault(row["name"], []).append((row, where))
    members = [_member(folder, rows, returns) for rows in found.values()]
    unread = set(returns) - {f"{row['name']}@{row['step']}" for row, _ in rows}
    if unread:
        raise DataError(
            folder / RETURNS,
            field=min(unread),
            expected=f"a row in {ROWS} for each array",
            found=f"{len(unread)} without one",
        )
    return members


def _read_rows(path: Path) -> list[tuple[dict, str]]:
    """Checked rows, each with its place for error messages."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, expected="the rows of a sweep", found=error) from None
    rows = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{path}, line {number}"
            rows.append((_checked_row(line, where), where))
    if not rows:
        raise DataError(path, expected="a row for each checkpoint", found="no rows")
    return rows


def _is_text(value):
    return isinstance(value, str) and value != ""


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value):
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


_FIELDS = {
    "name": (_is_text, "text"),
    "params": (lambda value: isinstance(value, dict), "an object"),
    "seed": (_is_count, "an integer of at least 0"),
    "task": (_is_text, "text"),
    "environment": (lambda value: isinstance(value, str), "text"),
    "step": (_is_count, "an integer of at least 0"),
    "last": (lambda value: isinstance(value, bool), "true or false"),
    "finite": (lambda value: isinstance(value, bool), "true or false"),
    "num_episodes": (_is_count, "an integer of at least 0"),
    "score_min": (_is_number, "a finite number"),
    "score_max": (_is_number, "a finite number"),
}


def _checked_row(line: str, where: str) -> dict:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(where, expected="a JSON object", found=error) from None
    if not isinstance(row, dict):
        raise DataError(where, expected="a JSON object", found=type(row).__name__)
    for name, (is_right, expected) in _FIELDS.items():
        if name not in row or not is_right(row[name]):
            found = repr(row[name]) if name in row else "no such field"
            raise DataError(where, field=name, expected=expected, found=found)
    if row["score_max"] <= row["score_min"]:
        raise DataError(
            where,
            field="score_max",
            expected=f"more than score_min, {row['score_min']}",
            found=row["score_max"],
        )
    return row


def _read_returns(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # zipfile and numpy each raise their own
        raise DataError(path, expected="raw episode returns", found=error) from None


def _member(folder, rows, returns) -> Member:
    """A member from its rows, in any order."""
    rows = sorted(rows, key=lambda entry: entry[0]["step"])
    first, _ = rows[0]
    checkpoints: list[Checkpoint] = []
    for i, (row, where) in enumerate(rows):
        for name in ("params", "seed", "task", "environment", "score_min", "score_max"):
            _expect(row[name] == first[name], where, name, first[name], row[name])
        step, is_last = row["step"], i == len(rows) - 1
        repeated = i > 0 and step == rows[i - 1][0]["step"]
        _expect(not repeated, where, "step", "one row for each step", f"{step} again")
        found = "no last row" if is_last else f"true before step {rows[-1][0]['step']}"
        expected = "true at the member's last step only"
        _expect(row["last"] == is_last, where, "last", expected, found)
        scores = _scores(folder / RETURNS, row, where, returns)
        if checkpoints and checkpoints[-1].scores is None:
            expected = "false from the first such row on"
            _expect(scores is None, where, "finite", expected, "true")
        checkpoints.append(Checkpoint(step, scores))
    task = Task(
        first["task"], first["environment"], first["score_min"], first["score_max"]
    )
    params = {n: as_text(v) for n, v in first["params"].items() if n != "seed"}
    source = str(folder)
    return Member(
        source, first["name"], params, first["seed"], task, tuple(checkpoints)
    )


def _scores(path, row, where, returns):
    """[E] scores of a row's raw returns; None where the training was not finite."""
    key = f"{row['name']}@{row['step']}"
    values = returns.get(key, np.zeros(0))
    if not row["finite"]:
        empty = values.size == 0 and row["num_episodes"] == 0
        _expect(empty, where, "finite", "no episodes where it is false", "some")
        return None
    _expect(key in returns, path, key, f"the returns of {where}", "no such array")
    is_right = values.ndim == 1 and len(values) > 0 and values.dtype.kind == "f"
    found = f"{values.dtype} {list(values.shape)}"
    _expect(is_right, path, key, "float64 [E], E at least 1", found)
    _expect(np.isfinite(values).all(), path, key, "finite returns", "others")
    expected = f"{len(values)}, the returns under '{key}'"
    is_right = row["num_episodes"] == len(values)
    _expect(is_right, where, "num_episodes", expected, row["num_episodes"])
    references = Environment(score_min=row["score_min"], score_max=row["score_max"])
    return normalized_score(values, references)


def _expect(holds, path, field, expected, found):
    if not holds:
        raise DataError(path, field=field, expected=expected, found=found)
