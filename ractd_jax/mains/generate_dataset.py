"""Records a dataset: packaged policies, mazes, a kitchen robot, teams of units.

Locomotion and mazes are D4RL's recipes. The kitchen's is not: it puts segments of
D4RL's 19 demonstrations of kitchen-complete together anew, which --demonstrations
names. A team's recipe is that of Duan (2025).

  python -m experiments.generate_dataset --task=hopper-medium-expert \
      --num_transitions=1000000 --hdf5=hopper-medium-expert.hdf5
  python -m experiments.generate_dataset --task=pointmaze-umaze
  python -m experiments.generate_dataset --task=antmaze-medium-play
  python -m experiments.generate_dataset --task=smax-3v3-one_kind
  python -m experiments.generate_dataset --task=kitchen-partial \
      --demonstrations=mini_kitchen_microwave_kettle_light_slider-v0.hdf5
"""

from absl import flags

from ractd_jax.mains import flag_kinds, launch
from ractd_jax.recording.generate import generate_dataset

FLAGS = flags.FLAGS


def main():
    summary = generate_dataset(
        FLAGS.task,
        FLAGS.num_transitions,
        FLAGS.seed,
        demonstrations=FLAGS.demonstrations,
        root=FLAGS.root,
        hdf5=FLAGS.hdf5,
        num_workers=FLAGS.num_workers,
    )
    print(
        f"{summary.dataset_id}: {summary.transitions} transitions, "
        f"{summary.episodes} episodes, true return {summary.return_mean:.0f} "
        f"(quartiles {summary.return_quartiles[0]:.0f}, "
        f"{summary.return_quartiles[1]:.0f}, {summary.return_quartiles[2]:.0f})"
    )


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flags.DEFINE_string(
        "task",
        None,
        "ENVIRONMENT-KIND: hopper-medium-expert, antmaze-umaze, kitchen-partial, ...",
        required=True,
    )
    flags.DEFINE_integer(
        "num_transitions", 1_000_000, "Transitions to record.", lower_bound=1
    )
    flag_kinds.define_seed("seed", 0, "Seed of the first episode.")
    flag_kinds.define_path(
        "demonstrations", "", "D4RL's file of kitchen-complete, for kitchen tasks."
    )
    flag_kinds.define_path("root", "", "Minari root; empty for Minari's default.")
    flag_kinds.define_path("hdf5", None, "Also write this file in D4RL's layout.")
    flags.DEFINE_integer(
        "num_workers", None, "Processes; default: one per core.", lower_bound=1
    )
    launch.run(main)
