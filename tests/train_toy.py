"""Trains toy stages in a process of its own, alone or as one of several.

  python -m tests.train_toy FOLDER STEPS [COORDINATOR NUM_PROCESSES PROCESS_INDEX]

XLA_FLAGS says how many devices it has.
"""

import sys
from pathlib import Path

import jax

from tests.toys import toy_dataset, toy_settings


def main(folder: str, steps: str, *job: str) -> None:
    if job:
        address, count, index = job
        jax.distributed.initialize(
            address, int(count), int(index), heartbeat_timeout_seconds=20
        )
    from ractd_jax.training.loop import train
    from ractd_jax.training.stages import plan_stage, reward_stage, student_stage

    # Groups of 32 numbers and more: the norm of a few amplifies rounding.
    settings = toy_settings(int(steps), plan={"horizon": 16}, network={"widths": (16,)})
    folder, dataset = Path(folder), toy_dataset()
    stages = {
        "teacher": lambda: plan_stage("teacher", settings, dataset),
        "reward": lambda: reward_stage(settings, dataset),
        "student": lambda: student_stage(
            settings, dataset, folder / "teacher", folder / "reward"
        ),
    }
    for name, make in stages.items():
        train(make(), settings.run, settings.seed, folder / name)


if __name__ == "__main__":
    main(*sys.argv[1:])
