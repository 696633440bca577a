"""Trains toy stages in a process of its own, alone or as one of several.

  python -m tests.train_toy FOLDER STEPS [COORDINATOR NUM_PROCESSES PROCESS_INDEX]

XLA_FLAGS says how many devices it has.
"""

import sys
from pathlib import Path

import jax
import numpy as np

from ractd_jax.data.episodes import build_episodes
from ractd_jax.data.sources import OfflineDataset, make_dataset
from ractd_jax.settings import Settings, from_mapping


def toy_dataset() -> OfflineDataset:
    """Ten episodes of noise: O = 3, A = 2."""
    rng = np.random.default_rng(0)
    timeouts = np.zeros(120, bool)
    timeouts[11::12] = True
    episodes = build_episodes(
        {
            "observations": rng.standard_normal((120, 3)),
            "actions": rng.uniform(-1, 1, (120, 2)),
            "rewards": rng.standard_normal(120),
            "terminals": np.zeros(120, bool),
            "timeouts": timeouts,
        },
        "toy",
    )
    return make_dataset("toy", episodes)


def toy_settings(num_steps: int = 20, **sections) -> Settings:
    """Small networks on plans of 4 steps, a log line at each step."""
    merged = {
        "task": "toy",
        "plan": {"horizon": 4},
        "network": {"widths": (8, 16), "embed_dim": 8},
        "teacher": {"num_steps": num_steps, "batch_size": 8},
        "reward": {
            "num_steps": num_steps,
            "batch_size": 8,
            "num_members": 2,
            "widths": (8,),
        },
        "student": {"num_steps": num_steps, "batch_size": 8, "reward_weight": 0.5},
        "run": {"steps_per_call": 1, "log_every": 1, "checkpoint_every": 10},
    }
    for name, options in sections.items():
        is_section = isinstance(options, dict)
        merged[name] = merged.get(name, {}) | options if is_section else options
    return from_mapping(merged)


def main(folder: str, steps: str, *job: str) -> None:
    if job:
        address, count, index = job
        jax.distributed.initialize(
            address, int(count), int(index), heartbeat_timeout_seconds=20
        )
    from ractd_jax.training.loop import train
    from ractd_jax.training.stages import reward_stage, student_stage, teacher_stage

    # Groups of 32 numbers and more: the norm of a few amplifies rounding.
    settings = toy_settings(
        int(steps), plan={"horizon": 16}, network={"widths": (16, 32)}
    )
    folder, dataset = Path(folder), toy_dataset()
    stages = {
        "teacher": lambda: teacher_stage(settings, dataset),
        "reward": lambda: reward_stage(settings, dataset),
        "student": lambda: student_stage(
            settings, dataset, folder / "teacher", folder / "reward"
        ),
    }
    for name, make in stages.items():
        train(make(), settings.run, settings.seed, folder / name)


if __name__ == "__main__":
    main(*sys.argv[1:])
