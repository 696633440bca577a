"""Compares trainings, finished or running: tables, curves, settings that differ.

  python -m experiments.compare runs/demo/ctd runs/demo/ractd --output=runs/compared

Each argument is the folder of a training, or of a pipeline or sweep, which hold
several; a single one is summarised. Prints Markdown: steps, times, the settings that
differ, last losses, fidelity, predicted returns and the scores of the evaluations that
are there. --output gets the same as compare.md, and the losses as compare.png.
"""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from absl import flags

from ractd_jax import presets
from ractd_jax.errors import ConfigError
from ractd_jax.mains import flag_kinds, launch
from ractd_jax.paths import local_path
from ractd_jax.reports.run_comparison import compare_runs
from ractd_jax.settings import differences, from_mapping, to_dict

FLAGS = flags.FLAGS
_PRESETS = ("cpu", "smoke", "paper", "released", "actions", "states")
# What a run has of its own, whatever its preset: places, and what the data decides.
_OWN = (
    *("seed", "environment", "evaluation", "controller", "run"),
    *("dataset.root", "dataset.path", "dataset.critic", "dataset.demonstrations"),
    "diffusion.sigma_data",
)


def preset_of(settings: Mapping[str, Any]) -> str:
    """The preset that most of the settings are of, and how many are not."""
    task, changed = str(settings["task"]).replace("pointmaze-", "maze2d-"), {}
    for preset in _PRESETS:
        # A task without presets, or without this one.
        with contextlib.suppress(ConfigError, ValueError):
            config = to_dict(from_mapping(presets.of_task(task, preset).to_dict()))
            found = differences(json.loads(json.dumps(config)), settings, settings)
            names = [name for name, *_ in found]
            own = [name in _OWN or name.split(".")[0] in _OWN for name in names]
            changed[preset] = own.count(False)
    if not changed:
        return "-"
    nearest = min(changed, key=changed.__getitem__)
    count = changed[nearest]
    return f"{nearest}, {count} changed" if count else nearest


def main(folders: list[str]):
    if not folders or "" in folders:
        raise ConfigError("compare: expected folders of trainings, found none")
    folders = [local_path(folder, "compare") for folder in folders]
    print(compare_runs(folders, FLAGS.output, preset_of), end="")


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flag_kinds.define_path("output", None, "Folder for compare.md and compare.png.")
    launch.run(main, takes="folders")
