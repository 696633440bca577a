"""Rates what records: the snapshots of a policy file, in place, or a maze's controller.

  python -m experiments.rate_behaviour --path=ractd_jax/recording/assets/hopper.npz
  python -m experiments.rate_behaviour --task=pointmaze-large-d4rl

The returns that a training chose its snapshots by are biased upwards: the expert is
the best of many noisy means. These are not: other seeds, more episodes. The ant that
walks in a direction is sent through D4RL's mazes as well. A ball's controller is rated
in the maze2d protocol, without noise on its actions.
"""

from absl import flags

from ractd_jax.errors import ConfigError
from ractd_jax.mains import flag_kinds, launch
from ractd_jax.pipelines.maze_controller import rate_controller
from ractd_jax.recording.rating import rate_snapshots

FLAGS = flags.FLAGS


def main():
    if bool(FLAGS.path) == bool(FLAGS.task):
        found = "both" if FLAGS.path else "none"
        raise ConfigError(f"--path, --task: expected one of them, found {found}")
    if FLAGS.task:
        print_controller(rate_controller(FLAGS.task, FLAGS.num_episodes, FLAGS.seed))
        return
    metadata = rate_snapshots(FLAGS.path, FLAGS.num_episodes, FLAGS.seed).metadata
    roles = {name: role for role, name in metadata["roles"].items()}
    for name, about in metadata["snapshots"].items():
        print(
            f"{name}: {about['return_mean']:.0f} +- {about['return_std']:.0f} "
            f"{roles.get(name, '')}"
        )
    for maze, share in metadata.get("arrivals", {}).items():
        print(f"antmaze-{maze}: arrives in {share:.0%} of {FLAGS.num_episodes}")


def print_controller(row):
    low, high = row["score_interval_95"]
    print(
        f"{FLAGS.task}: score {row['score_mean']:.1f} ({low:.1f} .. {high:.1f}), "
        f"return {row['return_mean']:.1f}, goal reached in "
        f"{100 * row['reached_share']:.0f}% of {row['episodes']} episodes"
    )


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flag_kinds.define_path("path", "", "Policy file, rewritten.")
    flags.DEFINE_string("task", "", "Task of a maze: pointmaze-umaze-d4rl, ...")
    flags.DEFINE_integer("num_episodes", 100, "Episodes of each.", lower_bound=1)
    flag_kinds.define_seed("seed", 1_000_000, "First seed.")
    launch.run(main)
