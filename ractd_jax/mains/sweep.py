"""A grid of trainings of one stage in one compiled program, evaluated together.

  python -m experiments.sweep --config=configs/hopper_medium_replay.py:cpu \
      --teacher=runs/teacher --reward=runs/reward --workdir=runs/sweep \
      --sweep="reward_weight=0,0.3,0.5,0.7,1.0,1.5" --seeds=4

Every member trains with the same teacher, reward model and data, and is what
train_student (--stage=teacher: train_teacher, reward: train_reward) with its own values
and seed would give on one device. At each checkpoint all of them are evaluated:
results.jsonl has a row for each, returns.npz the raw returns; members/NAME is a
member's own workdir, as the stage's main leaves it. Restartable. experiments.aggregate
reads the results.
"""

from pathlib import Path

from absl import flags

from ractd_jax.data.sources import load_resolved
from ractd_jax.mains import launch
from ractd_jax.pipelines.sweep import run_sweep
from ractd_jax.training.grid import make_grid, shared_settings

FLAGS = flags.FLAGS


def main():
    launch.check_model_flags(FLAGS.stage)
    settings, dataset = load_resolved(launch.settings_from_flags())
    grid = make_grid(FLAGS.sweep, FLAGS.seeds, FLAGS.stage)
    shared = shared_settings(FLAGS.stage, grid, settings)
    stage = launch.make_stage(FLAGS.stage, shared, dataset)
    workdir = Path(FLAGS.workdir)
    finite = run_sweep(stage, grid, settings, workdir, FLAGS.num_episodes)
    print(
        f"{int(finite.sum())} of {len(finite)} members finished; see "
        f"{workdir}/results.jsonl"
    )


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    launch.define_config_flags()
    flags.DEFINE_enum(
        "stage", "student", ["teacher", "reward", "student"], "What is trained."
    )
    launch.define_model_flags()
    flags.DEFINE_string(
        "sweep", "", 'Such as "reward_weight=0,0.3;learning_rate=1e-3,3e-4".'
    )
    flags.DEFINE_integer("seeds", 1, "Seeds 0, 1, ... of each value.", lower_bound=1)
    flags.DEFINE_integer(
        "num_episodes",
        None,
        "Of each evaluation of a member, if not the config's; 0 for none.",
        lower_bound=0,
    )
    launch.run(main)
