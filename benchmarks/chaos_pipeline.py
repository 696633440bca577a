"""The three stages on made-up data, small enough to be killed again and again.

python -m benchmarks.chaos_pipeline --data=FILE.hdf5 --workdir=DIR
"""

from pathlib import Path

import numpy as np
from absl import flags

from ractd_jax.data.d4rl_hdf5 import save_d4rl_hdf5
from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.data.sources import load_resolved
from ractd_jax.mains import launch
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.training.loop import train
from ractd_jax.training.stages import plan_stage, reward_stage, student_stage

FLAGS = flags.FLAGS
STAGES = ("teacher", "reward", "student")


def chaos_settings(data, calls: int = 20) -> Settings:
    """Tiny networks; a checkpoint at every second of `calls` calls of ten steps."""
    steps = 10 * calls
    return from_mapping(
        {
            "task": "chaos",
            "dataset": {"source": "d4rl", "path": str(data)},
            "plan": {"horizon": 4},
            "network": {"widths": (8,), "embed_dim": 8},
            "teacher": {"num_steps": steps, "batch_size": 8},
            "reward": {
                "num_steps": steps,
                "batch_size": 8,
                "num_members": 2,
                "widths": (8,),
            },
            "student": {"num_steps": steps, "batch_size": 8, "reward_weight": 0.5},
            "run": {"steps_per_call": 10, "log_every": 10, "checkpoint_every": 20},
        }
    )


def write_data(path: Path, seed: int = 0) -> None:
    """A file in D4RL's layout: 20 episodes of 60 steps, O = 3, A = 2."""
    rng = np.random.default_rng(seed)
    episodes = [
        RecordedEpisode(
            observations=rng.standard_normal((61, 3)).astype(np.float32),
            actions=rng.uniform(-1, 1, (60, 2)).astype(np.float32),
            rewards=rng.standard_normal(60).astype(np.float32),
            terminated=False,
            truncated=True,
            seed=seed,
        )
        for _ in range(20)
    ]
    save_d4rl_hdf5(path, episodes, {"made_by": "benchmarks.chaos_pipeline"})


def train_stages(settings: Settings, workdir: Path) -> None:
    """Trains what is not trained yet, in ``teacher``, ``reward`` and ``student``."""
    settings, dataset = load_resolved(settings)
    teacher, reward, student = (workdir / stage for stage in STAGES)

    def run(stage, folder):
        train(stage, settings.run, settings.seed, folder)

    run(plan_stage("teacher", settings, dataset), teacher)
    run(reward_stage(settings, dataset), reward)
    run(student_stage(settings, dataset, teacher, reward), student)


def main():
    settings = chaos_settings(FLAGS.data, FLAGS.calls)
    train_stages(settings, Path(FLAGS.workdir))


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "File of write_data.", required=True)
    flags.DEFINE_string("workdir", None, "Folder of the three stages.", required=True)
    flags.DEFINE_integer("calls", 20, "Calls of ten steps in each stage.")
    launch.run(main)
