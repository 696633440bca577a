"""Trains the policy of a team of SMAX by MAPPO, for recordings and as a baseline.

  pip install -e .[smax]
  python -m experiments.train_team --size=3 --teams=one_kind \
      --output=ractd_jax/tasks/assets/smax-3v3-one_kind.npz

Only needed to make new policies: those of 3 against 3 are shipped. Ends with the share
of 1,000 battles that it wins in teams of one kind, of any kinds and of several.
"""

from pathlib import Path

from absl import flags

from ractd_jax.mains import flag_kinds, launch
from ractd_jax.recording.team_training import train_team
from ractd_jax.tasks.smax import LEARNED, SIZES

FLAGS = flags.FLAGS


def main():
    # Without the folder of the machine that ran it.
    names = "size", "teams", "total_steps", "seed"
    given = " ".join(f"--{name}={FLAGS[name].value}" for name in names)
    command = f"python -m experiments.train_team {given}"
    rates = train_team(
        int(FLAGS.size),
        FLAGS.teams,
        FLAGS.total_steps,
        FLAGS.seed,
        Path(FLAGS.output),
        command,
    )
    print(", ".join(f"{teams}: {rate:.3f}" for teams, rate in rates.items()))


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flags.DEFINE_enum("size", "3", list(map(str, SIZES)), "Units of each side.")
    flags.DEFINE_enum("teams", "one_kind", list(LEARNED), "Teams that it learns in.")
    flags.DEFINE_integer(
        "total_steps", 5_000_000, "Steps of all battles together.", lower_bound=1
    )
    flag_kinds.define_seed("seed", 0, "Seed of the training.")
    flag_kinds.define_path("output", None, "The npz of the policy.", required=True)
    launch.run(main)
