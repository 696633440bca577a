"""Plans for observations from a file, by a checkpoint or an exported policy.

  python -m ractd_jax plan --checkpoint=runs/student --observations=states.npy \
      --output=plans.npy
  python -m ractd_jax plan --checkpoint=policy.zip --observations="[0.1, 0.2, 0.3]"

Prints the actions to execute, a row for each observation, as JSON; --output writes the
whole plans [N, H, A] as .npy instead.
"""

import json
from pathlib import Path

import jax
import numpy as np
from absl import flags

import ractd_jax
from ractd_jax.errors import ConfigError
from ractd_jax.files import check_writable, completed
from ractd_jax.mains import flag_kinds, launch

FLAGS = flags.FLAGS


def observations(given: str) -> np.ndarray:
    """[N, ...] of --observations; ConfigError where it is no file and no list."""
    try:
        if given.lstrip().startswith("["):
            return np.atleast_2d(np.array(json.loads(given), np.float32))
        if isinstance(found := np.load(given, allow_pickle=False), np.ndarray):
            return found
        reason = "several arrays"
    except (OSError, ValueError) as error:
        reason = error
    raise ConfigError(
        f"--observations: expected a .npy file or a list of numbers, found {given!r} "
        f"({reason})"
    )


def main():
    if FLAGS.output:
        check_writable(FLAGS.output)
    if Path(FLAGS.checkpoint).is_file():
        planner = ractd_jax.load_policy(FLAGS.checkpoint)
    else:
        planner = ractd_jax.load_planner(FLAGS.checkpoint)
    key, seen = jax.random.key(FLAGS.seed), observations(FLAGS.observations)
    if FLAGS.output:
        plans = np.asarray(planner.plan(seen, key))
        with completed(FLAGS.output) as temporary, open(temporary, "wb") as file:
            np.save(file, plans)
    else:
        print(json.dumps(np.asarray(planner.act(seen, key)).tolist()))


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flag_kinds.define_path(
        "checkpoint",
        None,
        "Workdir of a planner's training, or the file of an exported policy.",
        required=True,
    )
    flags.DEFINE_string(
        "observations",
        None,
        "File of observations [N, O] (.npy), or one or several as a JSON list.",
        required=True,
    )
    flag_kinds.define_path("output", None, "File for whole plans (.npy).")
    flag_kinds.define_seed("seed", 0, "Of the noise.")
    launch.run(main)
