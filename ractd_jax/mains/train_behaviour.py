"""Trains a behaviour policy and keeps snapshots from random to expert.

  pip install -e .[behaviour]
  python -m experiments.train_behaviour --env=Hopper-v5 --total_steps=400000 \
      --workdir=/tmp/behaviour/hopper --output=ractd_jax/recording/assets/hopper.npz

Only needed to make new behaviour policies: those for Hopper are shipped. tqc and sac
are SBX's; --algorithm=ppo is for discrete actions, and takes none of SBX's options.
"""

import dataclasses
import functools
import shlex
import sys
from pathlib import Path

from absl import flags

from ractd_jax.mains import flag_kinds, launch
from ractd_jax.recording.training import BehaviourTraining, train_behaviour

FLAGS = flags.FLAGS


def command(arguments) -> str:
    """What was run, without the folders of the machine that ran it."""
    folders = ("--workdir", "--output")
    kept = [argument for argument in arguments if not argument.startswith(folders)]
    return shlex.join(["python", "-m", "experiments.train_behaviour", *kept])


def main():
    names = [field.name for field in dataclasses.fields(BehaviourTraining)]
    values = {name: FLAGS[name].value for name in names}
    for name in ("actor_widths", "critic_widths"):
        values[name] = flag_kinds.widths(name)
    made_by = command(sys.argv[1:])
    folders = Path(FLAGS.workdir), Path(FLAGS.output)
    train_behaviour(BehaviourTraining(**values), *folders, made_by)


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    count = functools.partial(flags.DEFINE_integer, lower_bound=1)
    flags.DEFINE_string("env", "Hopper-v5", "Gymnasium id of the environment to solve.")
    flags.DEFINE_enum("algorithm", "tqc", ["tqc", "sac", "ppo"], "SBX's, or our PPO.")
    count("total_steps", 400_000, "Environment steps of the training.")
    count("snapshot_every", 10_000, "Environment steps between snapshots.")
    count("eval_episodes", 10, "Stochastic episodes that rate a snapshot.")
    count("num_replay", 10, "Snapshots to keep for the replay mixture.")
    flags.DEFINE_list("actor_widths", ["128", "128"], "Hidden widths of the actor.")
    flags.DEFINE_list("critic_widths", ["256", "256"], "Hidden widths of the critics.")
    flags.DEFINE_float(
        "learning_rate", 3e-4, "Learning rate of the behaviour training.", 0.0
    )
    flags.DEFINE_float("discount", 0.99, "Discount of the training.", 0.0, 1.0)
    flags.DEFINE_float(
        "entropy", -1.0, "Entropy to learn the temperature for, nats a number."
    )
    count("update_every", 1, "Environment steps between rounds of updates.")
    flags.DEFINE_float(
        "updates_per_step", 1.0, "Updates for each environment step.", 0.0
    )
    flag_kinds.define_seed("seed", 0, "Seed of the training.")
    flag_kinds.define_path(
        "workdir", None, "Folder for the log of snapshot returns.", required=True
    )
    flag_kinds.define_path(
        "output", None, "The npz with the chosen snapshots.", required=True
    )
    launch.run(main)
