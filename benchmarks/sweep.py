"""A grid of students in one program against the same students one after the other.

  python -m benchmarks.sweep --config=configs/hopper_medium_replay.py:cpu \
      --teacher=runs/teacher --reward=runs/reward --workdir=runs/sweep_speed \
      --sweep="reward_weight=0,0.3,0.5,0.7,1.0,1.5" --seeds=4 --output=sweep.json

Both sides are the mains that users start, without evaluation, each with a cache of
programs that is empty at first and kept between its own processes; overrides of the
config go to both. The members' final parameters are compared, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
from absl import flags

from ractd_jax.dimensions import Dimensions
from ractd_jax.files import write_json
from ractd_jax.machine import machine
from ractd_jax.mains import launch
from ractd_jax.methods import CtmStudent
from ractd_jax.settings import from_mapping
from ractd_jax.storage.checkpoint import StoredModel
from ractd_jax.training.grid import make_grid

FLAGS = flags.FLAGS


def _run(module: str, workdir: Path, cache: Path, *more: str) -> float:
    """Seconds of one main."""
    given = [arg for arg in sys.argv[1:] if arg.startswith(("--config", "--teacher"))]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", module, *given, f"--workdir={workdir}", *more],
        env=environment,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - begin


def largest_difference(one: Path, other: Path) -> float:
    """Of two students' EMA parameters, over the root mean square of the first's."""

    def params(folder):
        stored = StoredModel(folder)
        settings = from_mapping(stored.metadata["settings"])
        dims = Dimensions(**stored.metadata["dimensions"])
        method = CtmStudent.from_settings(settings, dims)
        template = jax.eval_shape(method.init, jax.random.key(0))
        leaves = jax.tree.leaves(stored.load(template))
        return np.concatenate([np.ravel(leaf) for leaf in leaves])

    a, b = params(one), params(other)
    return float(np.abs(a - b).max() / np.sqrt(np.mean(np.square(a))))


def main():
    workdir = Path(FLAGS.workdir)
    grid = make_grid(FLAGS.sweep, FLAGS.seeds, "student")
    together = _run(
        "experiments.sweep",
        workdir / "grid",
        workdir / "cache_grid",
        f"--reward={FLAGS.reward}",
        f"--sweep={FLAGS.sweep}",
        f"--seeds={FLAGS.seeds}",
        "--num_episodes=0",
    )
    seconds, differences = {}, {}
    for member in grid.members[: FLAGS.solo_members]:
        folder = workdir / "alone" / member.name
        seconds[member.name] = _run(
            "experiments.train_student",
            folder,
            workdir / "cache_alone",
            f"--reward={FLAGS.reward}",
            f"--config.seed={member.seed}",
            *(
                f"--config.student.{name}={value}"
                for name, value in member.values.items()
            ),
        )
        differences[member.name] = largest_difference(
            folder, workdir / "grid/members" / member.name
        )
    alone = sum(seconds.values()) * len(grid.members) / len(seconds)
    found = {
        "machine": machine(),
        "command": sys.argv,
        "members": len(grid.members),
        "in_one_program_s": together,
        "one_after_the_other_s": alone,
        "measured_alone": len(seconds),
        "share": together / alone,
        "seconds_alone": seconds,
        "largest_difference": differences,
    }
    print(
        f"{len(grid.members)} members: {together:.1f} s in one program, {alone:.1f} s "
        f"one after the other ({100 * together / alone:.0f}%); parameters differ by at "
        f"most {max(differences.values()):.1e} of their size"
    )
    if FLAGS.output:
        write_json(FLAGS.output, found)


if __name__ == "__main__":
    launch.define_config_flags()
    flags.DEFINE_string("teacher", None, "Workdir of train_teacher.", required=True)
    flags.DEFINE_string("reward", None, "Workdir of train_reward.", required=True)
    flags.DEFINE_string("sweep", "reward_weight=0,0.3,0.5,0.7,1.0,1.5", "The values.")
    flags.DEFINE_integer("seeds", 4, "Of each.", lower_bound=1)
    flags.DEFINE_integer(
        "solo_members", None, "How many to train alone, if not all.", lower_bound=1
    )
    flags.DEFINE_string("output", None, "JSON file to write.")
    launch.run(main)
