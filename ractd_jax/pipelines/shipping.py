"""Planners that the package ships: exported from benchmark cells, with their cards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ractd_jax
from ractd_jax.errors import ConfigError
from ractd_jax.files import check_writable, write_text
from ractd_jax.pipelines.cells import finished_cells
from ractd_jax.planning.export import describe_checkpoint, export_planner
from ractd_jax.policy import load_policy
from ractd_jax.reports.benchmark_table import Cell
from ractd_jax.reports.statistics import seed_interval
from ractd_jax.settings import from_mapping, to_dict
from ractd_jax.tables import markdown_table

_PLANNER, _FOLDER = "RACTD", "ractd"
_SEED = 0
_NO_FOLDERS = dict.fromkeys(("root", "path", "demonstrations", "critic"), "")
_ABOUT = (
    "One-step planners in the package: `ractd_jax.pretrained(NAME)`, or `python -m "
    "ractd_jax play --policy=NAME`. Each is RACTD of training seed 0, whatever it "
    "scored. Data is recorded by D4RL's recipes, so scores do not compare with those "
    "on D4RL's files. Made by `python -m experiments.ship_policies`."
)


def ship_policies(
    workdir: Path, results: Path, output: Path, tasks: Sequence[str] = ()
) -> str:
    """Writes NAME.zip of each task, and README.md of all files there; its text.

    Args:
      workdir: of the benchmark's trainings.
      results: of its finished cells.
      output: folder of the files.
      tasks: names; all that are finished without.

    Raises:
      ConfigError: a task's cell of training seed 0 is not finished.
      CheckpointError: its training is not in `workdir`.
      DataError: the files cannot be written.
    """
    cells = finished_cells(results)
    known = list(dict.fromkeys(cell.task for cell in cells))
    for task in tasks or known:
        own = [cell for cell in cells if cell.task == task]
        if _SEED not in [cell.seed for cell in own]:
            raise ConfigError(
                f"--tasks: expected tasks whose cell of training seed {_SEED} is "
                f"finished in {results} ({', '.join(known)}), found {task!r}"
            )
        path = output / f"{task}.zip"
        check_writable(path)
        checkpoint = workdir / task / f"seed_{_SEED}" / _FOLDER
        planner = ractd_jax.load_planner(checkpoint)
        about = describe_checkpoint(checkpoint) | {"card": _card(own)}
        # Folders of the machine that trained it are nobody else's.
        settings = from_mapping({"dataset": _NO_FOLDERS}, planner.settings)
        about["settings"] = to_dict(settings)
        export_planner(planner, path, about, "bfloat16")
    text = _table(output)
    write_text(output / "README.md", text)
    return text


def _card(cells: Sequence[Cell]) -> dict[str, Any]:
    """What a user wants to know of a policy, by its task's cells."""
    (own,) = (cell for cell in cells if cell.seed == _SEED)
    scores = [cell.planners[_PLANNER]["score_mean"] for cell in cells]
    return {
        "planner": _PLANNER,
        "training_seed": _SEED,
        "score": own.planners[_PLANNER]["score_mean"],
        "episodes": own.planners[_PLANNER]["episodes"],
        "training_seeds": [cell.seed for cell in cells],
        "score_of_seeds": float(np.mean(scores)),
        "score_interval_95_of_seeds": seed_interval(scores),
        "score_of_data": own.data["score_mean"],
        "commit": own.about["commit"],
        "processor": own.about["processor"],
    }


def _table(folder: Path) -> str:
    """Markdown of the cards of a folder's policies."""
    rows = []
    for path in sorted(folder.glob("*.zip")):
        metadata = load_policy(path).metadata
        card, settings = metadata["card"], metadata["settings"]
        seeds = f"{card['score_of_seeds']:.1f}"
        if (interval := card["score_interval_95_of_seeds"]) is not None:
            seeds += f" ± {0.5 * (interval[1] - interval[0]):.1f}"
        rows.append(
            [
                path.stem,
                settings["environment"]["id"],
                f"{card['score_of_data']:.1f}",
                f"{card['score']:.1f}",
                f"{seeds} ({len(card['training_seeds'])})",
                f"{path.stat().st_size / 1e3:.0f}",
                card["commit"],
            ]
        )
    header = ["name", "environment", "score of the data", "score"]
    header += ["mean of training seeds (how many)", "kB", "trained at commit"]
    return f"# Shipped policies\n\n{_ABOUT}\n\n{markdown_table(header, rows)}\n"
