"""What the cells of the experiments on unseen combinations share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from ractd_jax.errors import ConfigError
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
    about = json.loads(path.read_text())["about"]
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
    if path.exists():
        stored = json.loads(path.read_text())
        if stored["asked"] == asked:
            return stored["row"]
    row = make()
    write_json(path, {"asked": asked, "row": row})
    return row


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
