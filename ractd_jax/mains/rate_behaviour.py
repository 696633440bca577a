"""Rates the snapshots of a behaviour policy file on fresh seeds, in place.

  python -m experiments.rate_behaviour --path=ractd_jax/recording/assets/hopper.npz

The returns that a training chose its snapshots by are biased upwards: the expert is
the best of many noisy means. These are not: other seeds, more episodes. The ant that
walks in a direction is sent through D4RL's mazes as well.
"""

from absl import flags

from ractd_jax.mains import flag_kinds, launch
from ractd_jax.recording.rating import rate_snapshots

FLAGS = flags.FLAGS


def main():
    metadata = rate_snapshots(FLAGS.path, FLAGS.num_episodes, FLAGS.seed).metadata
    roles = {name: role for role, name in metadata["roles"].items()}
    for name, about in metadata["snapshots"].items():
        print(
            f"{name}: {about['return_mean']:.0f} +- {about['return_std']:.0f} "
            f"{roles.get(name, '')}"
        )
    for maze, share in metadata.get("arrivals", {}).items():
        print(f"antmaze-{maze}: arrives in {share:.0%} of {FLAGS.num_episodes}")


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flag_kinds.define_path("path", None, "Policy file, rewritten.", required=True)
    flags.DEFINE_integer("num_episodes", 100, "Episodes per snapshot.", lower_bound=1)
    flag_kinds.define_seed("seed", 1_000_000, "First seed.")
    launch.run(main)
