"""Reads finished and running trainings: their folders' settings, metrics and scores."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ractd_jax.errors import DataError
from ractd_jax.evaluation.results import load_results
from ractd_jax.reports.statistics import summarize
from ractd_jax.settings import Environment, Settings, to_dict

METRICS, CONFIG, ABOUT = "metrics.jsonl", "config.json", "training.json"
_RATES = ("time/steps_per_s", "time/first_steps_per_s")
_DIGEST = re.compile(r"_[0-9a-f]{8}$")


@dataclasses.dataclass(frozen=True)
class Score:
    """One evaluation: what was asked, in words, and its statistics over episodes."""

    asked: str
    episodes: int
    mean: float
    median: float
    interval: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class TrainingRun:
    """One training, as its folder has it.

    Attributes:
      folder: of the training.
      name: the end of its path that tells it from the others.
      stage: what is trained; empty where the folder does not say.
      num_steps: its last step; None where the folder does not say.
      settings: of its config, defaults included; None where there is no config.
      rows: of its metrics, in order; each has ``step``.
      scores: of the evaluations that are found.
    """

    folder: Path
    name: str
    stage: str
    num_steps: int | None
    settings: Mapping[str, Any] | None
    rows: tuple[Mapping[str, float], ...]
    scores: tuple[Score, ...]

    @property
    def step(self) -> int:
        """The last one that was logged; 0 before the first."""
        return int(self.rows[-1]["step"]) if self.rows else 0

    @property
    def seconds(self) -> float | None:
        """Of the logged steps, compilation included; None where no rate is logged."""
        spent, before = 0.0, 0
        for row in self.rows:
            rates = [row[name] for name in _RATES if name in row]
            if not rates:
                return None
            spent += (row["step"] - before) / rates[0]
            before = row["step"]
        return spent if self.rows else None

    @property
    def rate(self) -> float | None:
        """Median steps per second, without compilation where that is told apart."""
        for name in _RATES:
            rates = sorted(row[name] for row in self.rows if name in row)
            if rates:
                return rates[len(rates) // 2]
        return None

    @property
    def last(self) -> dict[str, float]:
        """Name -> the last value that was logged of each metric."""
        found: dict[str, float] = {}
        for row in self.rows:
            found |= row
        return found

    def curve(self, metric: str) -> tuple[list[float], list[float]]:
        """Steps, and the metric's values there."""
        rows = [row for row in self.rows if metric in row]
        return [row["step"] for row in rows], [row[metric] for row in rows]


def read_runs(folders: Iterable[str | os.PathLike]) -> list[TrainingRun]:
    """The trainings in `folders`, each once.

    Args:
      folders: of trainings, or of pipelines and sweeps, which hold such.

    Raises:
      DataError: a folder is no training's and holds none, or a file is damaged.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        found |= dict.fromkeys(_trainings_in(Path(folder)))
    names = _short_names(list(found))
    return [_read_run(path, name) for path, name in zip(found, names, strict=True)]


def _is_training(folder: Path) -> bool:
    return (folder / METRICS).is_file() or (folder / ABOUT).is_file()


def _trainings_in(folder: Path) -> list[Path]:
    """Absolute paths of a training, or of those below a pipeline or sweep."""
    folder = Path(os.path.abspath(folder))
    if _is_training(folder):
        return [folder]
    below = sorted((*folder.glob("*"), *folder.glob("members/*")))
    if found := [path for path in below if _is_training(path)]:
        return found
    raise DataError(
        folder,
        expected=f"the folder of a training ({METRICS}), of a pipeline or of a sweep",
        found="no such folder" if not folder.is_dir() else "no training in it",
    )


def _short_names(paths: Sequence[Path]) -> list[str]:
    """The paths without the folders that all of them lie in."""
    if len(paths) == 1:
        return [paths[0].name]
    shared = os.path.commonpath(paths)
    return [
        os.path.relpath(path, shared) if str(path) != shared else path.name
        for path in paths
    ]


def _read_run(folder: Path, name: str) -> TrainingRun:
    about = _about(folder)
    settings = None
    if (folder / CONFIG).is_file():
        settings = _over(_defaults(), _read_json(folder / CONFIG))
    stage = str(about.get("stage", ""))
    num_steps = about.get("num_steps")
    if num_steps is None and settings and isinstance(settings.get(stage), Mapping):
        num_steps = settings[stage].get("num_steps")
    return TrainingRun(
        folder,
        name,
        stage,
        num_steps,
        settings,
        tuple(_read_rows(folder / METRICS)),
        tuple(_scores(folder, settings)),
    )


def _about(folder: Path) -> Mapping[str, Any]:
    """``stage`` and ``num_steps``; of an older training what its checkpoint says."""
    if (folder / ABOUT).is_file():
        return _read_json(folder / ABOUT)
    steps = [
        path
        for path in folder.glob("checkpoints/*/metadata/metadata")
        if path.parents[1].name.isdecimal()
    ]
    if not steps:
        return {}
    newest = max(steps, key=lambda path: int(path.parents[1].name))
    return {"stage": _read_json(newest).get("stage", "")}


def _defaults() -> dict:
    return json.loads(json.dumps(to_dict(Settings())))


def _over(default: Mapping, found: Mapping) -> dict:
    """`found` with the defaults of what an older training does not know."""
    merged = dict(default) | dict(found)
    for name, value in default.items():
        if isinstance(value, Mapping) and isinstance(merged[name], Mapping):
            merged[name] = _over(value, merged[name])
    return merged


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(path, expected="a JSON object", found=error) from None
    if not isinstance(content, dict):
        raise DataError(path, expected="a JSON object", found=type(content).__name__)
    return content


def _read_rows(path: Path) -> list[dict[str, float]]:
    """Rows of a metrics file; a last one that is still being written is left out."""
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, expected="rows of metrics", found=error) from None
    whole = [line for line in lines if line.endswith("\n") and line.strip()]
    return [_row(line, f"{path}, line {i}") for i, line in enumerate(whole, 1)]


def _row(line: str, where: str) -> dict[str, float]:
    expected = "a JSON object of numbers, with 'step'"
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(where, expected=expected, found=error) from None
    numbers = isinstance(row, dict) and all(
        isinstance(value, int | float) for value in row.values()
    )
    if not numbers or "step" not in row:
        raise DataError(where, expected=expected, found=line.strip()[:60])
    return row


def _scores(folder: Path, settings: Mapping | None) -> list[Score]:
    """Those of its own evaluations, and of its pipeline's by its name."""
    own = list((folder / "evaluation").glob("*"))
    named = re.compile(re.escape(folder.name) + r"_\d+steps_")
    beside = (folder.parent / "evaluation").glob("*")
    files = own + [path for path in beside if named.match(path.name)]
    # The statistics where there are some, else the raw returns.
    chosen: dict[str, Path] = {}
    for ending in (".npz", ".json"):
        chosen |= {path.stem: path for path in files if path.suffix == ending}
    return [
        _score(path, _asked(stem, folder.name), settings)
        for stem, path in sorted(chosen.items())
    ]


def _asked(stem: str, model: str) -> str:
    """``1steps, temperature0.1, ...`` of a file's name."""
    words = _DIGEST.sub("", stem).removeprefix(f"{model}_")
    return words.replace("_", " ")


def _score(path: Path, asked: str, settings: Mapping | None) -> Score:
    if path.suffix == ".json":
        found = _read_json(path)
    else:
        known = (settings or {}).get("environment", {})
        ends = {name: known.get(name) for name in ("score_min", "score_max")}
        found = summarize(load_results(path), Environment(**ends))
    try:
        low, high = found["score_interval_95"]
        values = found["score_mean"], found["score_median"], low, high
        mean, median, low, high = map(float, values)
        return Score(asked, int(found["episodes"]), mean, median, (low, high))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            path, expected="the statistics of an evaluation", found=repr(error)
        ) from None
