"""Tables of policies among combinations of kinds that their data never had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ractd_jax.reports.combinations_table import about_cells
from ractd_jax.reports.statistics import seed_interval
from ractd_jax.tables import markdown_table

# Experiment -> row -> environment -> share that Duan (2025) prints, tables A.10 and
# A.12: of SMACv2, where units are others and the enemy is the game's own.
_SMACV2_3V3 = {
    "smax-3v3-hard": {
        "random unit": {"ID": 0.09, "OOC, as drawn": 0.11},
        "MAPPO": {"ID": 0.63, "OOC, as drawn": 0.42},
        "BC": {"ID": 0.60, "OOC, as drawn": 0.40},
        "diffusion, no kinds": {"ID": 0.40, "OOC, as drawn": 0.28},
        "diffusion, concat": {"ID": 0.64, "OOC, as drawn": 0.44},
        "diffusion, attention": {"ID": 0.61, "OOC, as drawn": 0.49},
    },
    "smax-3v3-simple": {
        "random unit": {"ID": 0.18, "OOC": 0.07},
        "MAPPO": {"ID": 0.58, "OOC": 0.52},
        "BC": {"ID": 0.58, "OOC": 0.56},
        "diffusion, no kinds": {"ID": 0.55, "OOC": 0.50},
        "diffusion, concat": {"ID": 0.59, "OOC": 0.59},
        "diffusion, attention": {"ID": 0.59, "OOC": 0.59},
    },
}
# Table A.5, read as shares of 100 episodes, whose number it does not say.
_ROUNDABOUT = {
    "BC": {"OOC": 0.377},
    "BC, as large as attention": {"OOC": 0.373},
    "PPO": {"OOC": 0.36},
    "DDPM, attention": {"OOC": 0.2},
}
_PUBLISHED = {**_SMACV2_3V3, "roundabout": _ROUNDABOUT}
_ABOUT_PUBLISHED = {
    "smax": "In brackets: Duan (2025), tables A.10 and A.12, on SMACv2. This is SMAX, "
    "not SMACv2: other units, another enemy, another map.",
    "roundabout": "In brackets: Duan (2025), table A.5, whose bicycles may start "
    "elsewhere; its counts are read as of 100 episodes.",
}


def control_tables(cells: Sequence[Mapping[str, Any]]) -> str:
    """Markdown of the cells of one or several experiments.

    Args:
      cells: of :func:`ractd_jax.pipelines.combinations.control.run_control_cell`.
    """
    parts = []
    for name in dict.fromkeys(cell["experiment"] for cell in cells):
        own = [cell for cell in cells if cell["experiment"] == name]
        counted = f"{own[0]['episodes']} episodes in each environment and for each seed"
        parts += [f"## {name}", about_cells(own, counted), _outcomes(name, own), _NOTE]
        note = _ABOUT_PUBLISHED.get(name.partition("-")[0])
        parts += [note] if note else []
        parts += [_support(own), _marginals(own)]
    return "\n\n".join(parts) + "\n"


_NOTE = (
    "Mean over training seeds and half the width of its 95% interval (Student's t); "
    "all planners and seeds meet the same episodes. Rows without costs train nothing, "
    "and are the same for each seed."
)


def _environments(cells) -> list[str]:
    return [where for where in cells[0]["checks"] if where != "data"]


def _outcomes(name: str, cells: Sequence[Mapping[str, Any]]) -> str:
    event, where = cells[0]["event"], _environments(cells)
    rows = []
    for label, first in cells[0]["rows"].items():
        found = [cell["rows"][label] for cell in cells]
        printed = _PUBLISHED.get(name, {}).get(label.partition(", weight")[0], {})
        row = [label]
        for each in where:
            text = _percent([one[each]["share"] for one in found])
            row.append(text + _bracket(printed.get(each)))
        row += [_number([one[each]["return"] for one in found]) for each in where]
        if "nfe" in first:
            times = np.median([one["ms_per_plan"] for one in found])
            row += [str(first["nfe"]), f"{times:.1f}", f"{first['parameters']:,}"]
        else:
            row += ["-"] * 3
        rows.append(row)
    header = ["policy", *(f"% {event}, {each}" for each in where)]
    header += [f"return, {each}" for each in where]
    costs = "network evaluations", "ms per plan, batch 1, one core", "parameters"
    return markdown_table([*header, *costs], rows)


def _bracket(share: float | None) -> str:
    return "" if share is None else f" [{100 * share:.0f}]"


def _support(cells: Sequence[Mapping[str, Any]]) -> str:
    checks = cells[0]["checks"]
    rows = [
        [each, f"{100 * checks[each]['combinations_seen']:.0f}"]
        for each in _environments(cells)
    ]
    return markdown_table(
        ["states of", "% whose visible kinds, in their slots, the data has"], rows
    )


def _marginals(cells: Sequence[Mapping[str, Any]]) -> str:
    """Each slot's shares of the kinds, 0 being that nothing is seen."""
    checks = cells[0]["checks"]
    slots = len(checks["data"]["marginals"])
    rows = [
        [
            where,
            *(
                " ".join(f"{100 * share:.0f}" for share in slot)
                for slot in found["marginals"]
            ),
        ]
        for where, found in checks.items()
    ]
    header = ["% of states, none and each kind", *(f"slot {i}" for i in range(slots))]
    return markdown_table(header, rows)


def _percent(shares: Sequence[float]) -> str:
    return _number([100 * share for share in shares], 1)


def _number(values: Sequence[float], digits: int = 2) -> str:
    mean, interval = np.mean(values), seed_interval(values)
    if interval is None or np.ptp(values) == 0.0:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {0.5 * (interval[1] - interval[0]):.{digits}f}"
