"""Evaluates a teacher or student in closed loop on true returns.

  python -m experiments.evaluate --checkpoint=runs/student --num_episodes=100

Writes DIR/evaluation/NAME.npz (raw returns) and NAME.json (statistics).
"""

import json
from pathlib import Path

from absl import flags
from tqdm import tqdm

import ractd_jax
from experiments import launch
from ractd_jax.data.sources import with_environment_id
from ractd_jax.evaluation.rollout import evaluate_planner, save_results
from ractd_jax.evaluation.statistics import summarize
from ractd_jax.files import write_json

FLAGS = flags.FLAGS


def evaluate_with_progress(planner, environment, num_episodes, seed, noise, label):
    """:func:`evaluate_planner` with a progress bar of finished episodes."""
    with tqdm(total=num_episodes, desc=label, unit="episode") as bar:

        def on_step(step, running):
            bar.set_postfix(env_step=step)
            bar.update(num_episodes - running - bar.n)

        return evaluate_planner(
            planner, environment, num_episodes, seed, noise, on_step
        )


def main():
    planner = ractd_jax.load_planner(
        FLAGS.checkpoint, num_steps=FLAGS.num_steps, weights=FLAGS.weights
    )
    settings = planner.settings
    environment = settings.environment
    if FLAGS.environment:
        environment = with_environment_id(environment, FLAGS.environment)
    episodes = FLAGS.num_episodes or settings.evaluation.num_episodes
    seed = settings.evaluation.seed if FLAGS.seed is None else FLAGS.seed
    noise = FLAGS.noise or settings.evaluation.noise
    name = f"{planner.role}_{planner.num_steps}steps"
    if noise != "each_step":
        name += f"_noise_{noise}"
    results = evaluate_with_progress(planner, environment, episodes, seed, noise, name)
    folder = Path(FLAGS.checkpoint) / "evaluation"
    save_results(folder / f"{name}.npz", results)
    summary = summarize(results, environment)
    summary |= {"nfe": planner.nfe, "environment": environment.id, "seed": seed}
    summary["noise"] = noise
    write_json(folder / f"{name}.json", summary)
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    flags.DEFINE_string(
        "checkpoint", None, "Workdir of train_teacher or train_student.", required=True
    )
    flags.DEFINE_integer(
        "num_steps", None, "Heun steps of a teacher or jumps of a student."
    )
    flags.DEFINE_enum("weights", "ema", ["ema", "raw"], "Which weights to evaluate.")
    flags.DEFINE_string("environment", None, "Gymnasium id, if not the checkpoint's.")
    flags.DEFINE_integer(
        "num_episodes", None, "Episodes, if not the checkpoint's.", lower_bound=1
    )
    flags.DEFINE_integer("seed", None, "First reset's seed, if not the checkpoint's.")
    flags.DEFINE_enum(
        "noise", None, ["each_step", "each_episode"], "If not the checkpoint's."
    )
    launch.run(main)
