"""Students over reward weight x reward model x reward input, each in processes."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import os
import queue
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import logging

import ractd_jax
from ractd_jax.files import check_writable, with_ending, write_json, write_text
from ractd_jax.pipelines.evaluations import results_path, usual_evaluation
from ractd_jax.tables import markdown_table

# Name -> (members, pessimism); None is the config's own.
_MEMBERS = {"one": (1, 0.0), "ensemble": (None, None)}


class RewardCell(NamedTuple):
    """One student.

    Attributes:
      label: its folder.
      weight: of the reward term; 0 is CTD, which has no reward model.
      members: ``one`` or ``ensemble``.
      kind: reward input.
    """

    label: str
    weight: float
    members: str = "-"
    kind: str = "-"

    @property
    def overrides(self) -> list[str]:
        """Flags of the config, in place of its own values."""
        flags = [f"--config.student.reward_weight={self.weight}"]
        if not self.weight:
            return flags
        number, pessimism = _MEMBERS[self.members]
        flags += [
            f"--config.student.reward_input={self.kind}",
            f"--config.student.num_members={number}",
        ]
        if pessimism is not None:
            flags.append(f"--config.student.pessimism={pessimism}")
        return flags


def reward_cells(
    weights: Iterable[float], inputs: Iterable[str], models: Iterable[str]
) -> list[RewardCell]:
    """The grid; weight 0 is one cell."""
    weights = list(weights)
    grid = itertools.product(inputs, models, weights)
    found = [RewardCell("ctd", 0.0)] if 0.0 in weights else []
    return found + [
        RewardCell(f"{kind}_{members}_{weight:g}", weight, members, kind)
        for kind, members, weight in grid
        if weight
    ]


def run_table(
    cells: Sequence[RewardCell],
    workdir: Path,
    output: Path,
    jobs: int,
    train: Sequence[str],
    evaluate: Sequence[str],
    num_episodes: int,
) -> str:
    """Trains and evaluates the cells that are not finished, and writes their table.

    Args:
      cells: of the table.
      workdir: of the cells.
      output: of the table, without suffix.
      jobs: cells at a time; on Linux each is pinned to its own share of the cores.
      train: command that trains a student, without the cell's own flags.
      evaluate: command that evaluates one.
      num_episodes: of each evaluation.

    Returns:
      The table in Markdown.

    Raises:
      DataError: the table cannot be written.
      RuntimeError: a command failed.
    """
    check_writable(*(with_ending(output, ending) for ending in (".json", ".md")))
    evaluate = [*evaluate, f"--num_episodes={num_episodes}"]
    free = queue.SimpleQueue()
    for share in _core_shares(jobs):
        free.put(share)

    def job(cell):
        share = free.get()
        try:
            folder = workdir / cell.label
            _train_cell(cell, folder, train, share)
            results = _results_of(folder, num_episodes)
            if not results.exists():
                _run([*evaluate, f"--checkpoint={folder}"], folder, share)
            return _row_of(cell, folder, results)
        finally:
            free.put(share)

    rows: dict[str, dict] = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(job, cell): cell.label for cell in cells}
        for done in concurrent.futures.as_completed(waiting):
            rows[waiting[done]] = done.result()
            # Written after each cell: what is there survives an interruption.
            _save(output, [rows[cell.label] for cell in cells if cell.label in rows])
    return format_rows(list(rows.values()))


def _train_cell(cell: RewardCell, folder: Path, train, cores) -> None:
    """Trains the student of a cell, unless that is done."""
    _run([*train, *cell.overrides, f"--workdir={folder}"], folder, cores)
    config = json.loads((folder / "config.json").read_text())
    if _last_metrics(folder)["step"] < config["student"]["num_steps"]:
        raise RuntimeError(f"{folder}: the training was stopped; run this again")


def _last_metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])


def _results_of(folder: Path, num_episodes: int) -> Path:
    """Where experiments.evaluate puts the statistics of a cell's student."""
    planner = ractd_jax.load_planner(folder)
    evaluation = usual_evaluation(planner, num_episodes=num_episodes)
    return with_ending(
        results_path(planner, evaluation, folder / "evaluation"), ".json"
    )


def _row_of(cell: RewardCell, folder: Path, results: Path) -> dict:
    summary = json.loads(results.read_text())
    logging.info("%s: score %.1f", cell.label, summary["score_mean"])
    last = _last_metrics(folder).items()
    reward = {name: value for name, value in last if name.startswith("reward/")}
    about = {"weight": cell.weight, "members": cell.members, "input": cell.kind}
    return {**about, **summary, **reward}


def _run(command: Sequence[str], folder: Path, cores: set[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    with open(folder / "log.txt", "a") as log:
        done = subprocess.run(command, stdout=log, stderr=log, preexec_fn=pin)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: see {folder / 'log.txt'}")


def _save(output: Path, rows: list[dict]) -> None:
    write_json(with_ending(output, ".json"), rows)
    write_text(with_ending(output, ".md"), format_rows(rows))


def _core_shares(jobs: int) -> list[set[int]]:
    """One set of cores per job; empty sets where pinning makes no sense."""
    if jobs == 1 or not hasattr(os, "sched_setaffinity"):
        return [set()] * jobs
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[job::jobs]) or set(cores) for job in range(jobs)]


def format_rows(rows: list[dict]) -> str:
    """Markdown: a line per reward input and model, a column per weight."""
    weights = sorted({row["weight"] for row in rows if row["weight"]})
    ctd = [row for row in rows if not row["weight"]]
    header = ["reward input", "reward model", "0", *(f"{w:g}" for w in weights)]
    lines = []
    groups = dict.fromkeys((r["input"], r["members"]) for r in rows if r["weight"])
    for kind, members in groups:
        line = [kind, members, _cell(ctd)]
        for weight in weights:
            key = (kind, members, weight)
            line.append(
                _cell(
                    [r for r in rows if (r["input"], r["members"], r["weight"]) == key]
                )
            )
        lines.append(line)
    return markdown_table(header, lines) + "\n"


def _cell(rows: list[dict]) -> str:
    if not rows:
        return "-"
    low, high = rows[0]["score_interval_95"]
    return f"{rows[0]['score_mean']:.1f} ({low:.0f}..{high:.0f})"
