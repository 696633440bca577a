"""What the cells of the experiments on unseen combinations share."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from ractd_jax.errors import ConfigError, DataError
from ractd_jax.evaluation.latency import one_core, plan_latency
from ractd_jax.files import write_json
from ractd_jax.pipelines.benchmark import check_same_settings
from ractd_jax.planning import Planner

_TIMED_CALLS = 50


def is_finished_cell(path: Path, asked: Mapping[str, Any]) -> bool:
    """Whether a cell is there.

    Args:
      path: of its ``cell.json``.
      asked: ``settings``, and one number under the name of its flag.

    Raises:
      ConfigError: it was made with others.
    """
    if not path.exists():
        return False
    about = read_cell(path)["about"]
    check_same_settings(path, about["settings"], asked["settings"])
    for name, value in asked.items():
        if name != "settings" and about.get(name) != value:
            raise ConfigError(
                f"--{name}: {path} has {about.get(name)}, found {value}: expected the "
                "same, or another --results"
            )
    return True


def kept_row(
    path: Path, asked: Mapping[str, Any], make: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What `make` gives, stored in `path` for a cell that is cut off.

    Args:
      path: of the file.
      asked: what it depends on; another one's file is made anew.
      make: gives what can be JSON.
    """
    asked = json.loads(json.dumps(asked))
    # A damaged file is made anew, as a missing one is.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        stored = json.loads(path.read_text())
        if stored["asked"] == asked:
            return stored["row"]
    row = make()
    write_json(path, {"asked": asked, "row": row})
    return row


def read_cell(path: Path) -> dict[str, Any]:
    """A finished cell; DataError where the file is none."""
    try:
        cell = json.loads(path.read_text())
        cell["about"]["settings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(path, expected="a finished cell", found=error) from None
    return cell


def read_cells(results: Path, pattern: str, mark: str) -> list[dict[str, Any]]:
    """The finished cells of a folder.

    Args:
      results: the folder.
      pattern: of the cells' files in it.
      mark: what a cell of this kind has, such as ``maze``.

    Raises:
      ConfigError: cells of another kind are there, or some of one `mark` that cannot
        be averaged: other settings, rows or numbers.
      DataError: a file is no cell.
    """
    cells = [read_cell(path) for path in sorted(results.glob(pattern))]
    kinds: dict[str, set[str]] = {}
    for cell in cells:
        if mark not in cell:
            raise ConfigError(
                f"--results: expected cells of one task in {results}, found some of "
                "another one: use a folder for each"
            )
        about = {k: v for k, v in cell["about"].items() if k in cell["asked"]}
        about["settings"] = {**about["settings"], "seed": None}
        kind = json.dumps([about, list(cell["rows"])], sort_keys=True)
        kinds.setdefault(cell[mark], set()).add(kind)
    for name, found in kinds.items():
        if len(found) > 1:
            raise ConfigError(
                f"--results: expected cells of {name} with the same settings, rows and "
                f"numbers in {results}, found {len(found)} kinds: use another folder"
            )
    return cells


def plan_costs(planner: Planner) -> dict[str, float]:
    """Network evaluations, parameters, and milliseconds of a plan on one core.

    Guidance takes two evaluations for one.
    """
    method = planner.method
    weight = planner.settings.evaluation.guidance_weight
    guided = method.takes_guidance and method.guidance_by_elements(weight)
    with one_core():
        calls = _TIMED_CALLS if planner.nfe < 10 else 5
        seconds = plan_latency(planner, calls)["p50"]
    return {
        "nfe": planner.nfe * (2 if guided else 1),
        "parameters": num_parameters(planner),
        "ms_per_plan": 1e3 * seconds,
    }


def num_parameters(planner: Planner) -> int:
    """Of the planner's network."""
    return sum(leaf.size for leaf in jax.tree.leaves(planner.params))


class TrainingTimes:
    """Seconds of a cell's trainings, added up over the calls that it took.

    Args:
      workdir: of the cell; the times lie in its ``seconds.json``.
    """

    def __init__(self, workdir: Path):
        self._path = workdir / "seconds.json"
        self.seconds: dict[str, float] = {}
        with contextlib.suppress(OSError, ValueError):
            self.seconds = json.loads(self._path.read_text())

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Adds what runs inside to the training of this name."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = self.seconds.get(name, 0.0) + time.perf_counter() - start
            self.seconds[name] = spent
            write_json(self._path, self.seconds)
