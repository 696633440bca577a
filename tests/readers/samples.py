"""The four episodes as files: ``python -m tests.readers.samples FOLDER``."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.readers.layouts import (
    LAST,
    REWARDS,
    SIZE,
    d3rlpy_arrays,
    lerobot_columns,
    mdp_dataset_arrays,
    ogbench_arrays,
    robomimic_arrays,
    save_hdf5,
    save_lerobot,
)

PENDULUM = {"env_name": "Pendulum-v1", "type": 2, "env_kwargs": {}}


def save_goals(path: Path) -> None:
    """OGBench's: a goal-conditioned set."""
    np.savez(path, **ogbench_arrays())


def save_task(path: Path) -> None:
    """OGBench's: one task, which is done as the first trajectory ends."""
    masks = np.float32(np.arange(SIZE) != LAST[0])
    np.savez(path, **ogbench_arrays(), rewards=np.float32(REWARDS), masks=masks)


def save_demonstrations(path: Path) -> None:
    about = {("data", "env_args"): json.dumps(PENDULUM)}
    save_hdf5(path, robomimic_arrays(), about)


# Name -> (source, writer).
SAMPLES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "pointmaze-goals.npz": ("ogbench", save_goals),
    "cube-task.npz": ("ogbench", save_task),
    "demo.hdf5": ("robomimic", save_demonstrations),
    "buffer.h5": ("d3rlpy", lambda path: save_hdf5(path, d3rlpy_arrays())),
    "mdp_dataset.h5": ("d3rlpy", lambda path: save_hdf5(path, mdp_dataset_arrays())),
    "pusht": ("lerobot", lambda path: save_lerobot(path, lerobot_columns())),
}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    for name, (_, write) in SAMPLES.items():
        write(folder / name)
