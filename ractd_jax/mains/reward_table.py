"""Students over reward weight x reward model x reward input, and their table.

  python -m experiments.reward_table --config=configs/hopper_medium_expert.py \
      --teacher=runs/demo/teacher --reward=runs/demo/reward --workdir=runs/table \
      --output=docs/results/reward_table --jobs=2

Each cell is one train_student and one evaluate process; with several jobs on Linux
each is pinned to its own share of the cores. Restartable: finished cells are kept.
Config overrides (--config.x.y=) apply to every cell.
"""

import sys
from pathlib import Path

from absl import flags

from ractd_jax.mains import flag_kinds, launch
from ractd_jax.pipelines.reward_table import reward_cells, run_table

FLAGS = flags.FLAGS


def main():
    weights = flag_kinds.numbers("weights")
    cells = reward_cells(weights, FLAGS.reward_inputs, FLAGS.reward_models)
    shared = [argument for argument in sys.argv[1:] if argument.startswith("--config")]
    models = [f"--teacher={FLAGS.teacher}", f"--reward={FLAGS.reward}"]
    python = [sys.executable, "-m", "ractd_jax"]
    train = [*python, "train", "--stage=student", *shared, *models]
    evaluate = [*python, "evaluate"]
    folders = Path(FLAGS.workdir), Path(FLAGS.output)
    commands = train, evaluate, FLAGS.num_episodes
    print(run_table(cells, *folders, FLAGS.jobs, *commands))


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    launch.define_config_flags()
    flag_kinds.define_path("teacher", None, "Workdir of train_teacher.", required=True)
    flag_kinds.define_path("reward", None, "Workdir of train_reward.", required=True)
    flag_kinds.define_path(
        "output", None, "Table to write, without suffix.", required=True
    )
    flags.DEFINE_list("weights", ["0", "0.25", "0.5", "1", "2"], "Reward weights.")
    flags.DEFINE_list("reward_inputs", ["dsm", "one_step"], "Reward inputs.")
    flags.DEFINE_list("reward_models", ["ensemble", "one"], "one or ensemble.")
    flags.DEFINE_integer(
        "num_episodes", 50, "Episodes of each evaluation.", lower_bound=1
    )
    flags.DEFINE_integer("jobs", 1, "Students to train at a time.", lower_bound=1)
    launch.run(main)
