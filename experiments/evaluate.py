"""Evaluates a teacher or student in closed loop on true returns.

  python -m experiments.evaluate --checkpoint=runs/student --num_episodes=100

Writes DIR/evaluation/NAME.npz (raw returns) and NAME.json (statistics).
"""

import dataclasses
import json
from pathlib import Path

from absl import flags
from tqdm import tqdm

import ractd_jax
from experiments import launch
from ractd_jax.data.sources import with_environment_id
from ractd_jax.evaluation.results import save_results
from ractd_jax.evaluation.rollout import evaluate_planner
from ractd_jax.evaluation.state_rollout import evaluate_controlled
from ractd_jax.evaluation.statistics import summarize
from ractd_jax.files import write_json
from ractd_jax.planning import PRECISIONS, load_inverse_dynamics
from ractd_jax.planning.controllers import gain_text

FLAGS = flags.FLAGS


def evaluate_with_progress(
    planner, environment, num_episodes, seed, noise, label, num_workers=None
):
    """:func:`evaluate_planner` with a progress bar of finished episodes."""
    with tqdm(total=num_episodes, desc=label, unit="episode") as bar:

        def on_step(step, running):
            bar.set_postfix(env_step=step)
            bar.update(num_episodes - running - bar.n)

        if num_workers is None:
            num_workers = planner.settings.evaluation.num_workers
        return evaluate_planner(
            planner, environment, num_episodes, seed, noise, on_step, num_workers
        )


def evaluate_states(planner, environment, num_episodes, seed, noise, label):
    """Results of a planner of states, and what its plans were like."""
    settings = planner.settings
    changes = {
        "kind": FLAGS.controller or settings.controller.kind,
        "replan_every": settings.controller.replan_every
        if FLAGS.replan_every is None
        else FLAGS.replan_every or None,
        "gain_position": settings.controller.gain_position
        if FLAGS.gain_position is None
        else FLAGS.gain_position or None,
    }
    options = dataclasses.replace(settings.controller, **changes)
    model = FLAGS.inverse_dynamics and load_inverse_dynamics(FLAGS.inverse_dynamics)
    with tqdm(desc=label, unit="step") as bar:
        found = evaluate_controlled(
            planner,
            options,
            environment,
            num_episodes,
            seed,
            model=model,
            noise=noise,
            on_step=lambda step, running: bar.update(),
        )
    about = {
        "controller": options.kind,
        "gain_position": options.gain_position,
        "replan_every": options.replan_every,
        "reached_share": float(found.reached.mean()),
        "collided_share": float(found.collided.mean()) if len(found.collided) else None,
    }
    return found.episodes, about


def main():
    planner = ractd_jax.load_planner(
        FLAGS.checkpoint,
        num_steps=FLAGS.num_steps,
        weights=FLAGS.weights,
        num_candidates=FLAGS.num_candidates,
        reward=FLAGS.reward,
        precision=FLAGS.precision,
        temperature=FLAGS.temperature,
        target_rank=FLAGS.target_rank,
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
    if planner.num_candidates > 1:
        name += f"_{planner.num_candidates}candidates"
    if planner.precision != "float32":
        name += f"_{planner.precision}"
    if planner.temperature != 1.0 and planner.role != "bc":
        name += f"_temperature{planner.temperature:g}"
    if FLAGS.target_rank is not None:
        name += f"_rank{FLAGS.target_rank:g}"
    about = {}
    arguments = planner, environment, episodes, seed, noise, name
    if planner.dims.plans_states:
        results, about = evaluate_states(*arguments)
        name += f"_{about['controller']}_gain{gain_text(about['gain_position'])}"
        name += f"_replan{about['replan_every'] or 0}"
    else:
        results = evaluate_with_progress(*arguments, FLAGS.num_workers)
    folder = Path(FLAGS.checkpoint) / "evaluation"
    save_results(folder / f"{name}.npz", results)
    summary = summarize(results, environment)
    summary |= {"nfe": planner.nfe, "environment": environment.id, "seed": seed}
    summary |= {"noise": noise, "num_candidates": planner.num_candidates, **about}
    summary |= {"precision": planner.precision, "temperature": planner.temperature}
    write_json(folder / f"{name}.json", summary)
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    flags.DEFINE_string(
        "checkpoint", None, "Workdir of a planner's training.", required=True
    )
    flags.DEFINE_integer(
        "num_steps", None, "Heun steps of a teacher or jumps of a student."
    )
    flags.DEFINE_enum("weights", "ema", ["ema", "raw"], "Which weights to evaluate.")
    flags.DEFINE_enum(
        "precision",
        "float32",
        PRECISIONS,
        "bfloat16 rounds the kernels: faster students of many plans on CPUs.",
    )
    flags.DEFINE_float(
        "temperature",
        None,
        "Scale of the noise that plans start from, if not the checkpoint's.",
        lower_bound=0.0,
    )
    flags.DEFINE_float(
        "target_rank",
        None,
        "Rank of the return that is asked for, if not the checkpoint's.",
        lower_bound=-1.0,
        upper_bound=1.0,
    )
    flags.DEFINE_string("environment", None, "Gymnasium id, if not the checkpoint's.")
    flags.DEFINE_integer(
        "num_episodes", None, "Episodes, if not the checkpoint's.", lower_bound=1
    )
    flags.DEFINE_integer("seed", None, "First reset's seed, if not the checkpoint's.")
    flags.DEFINE_enum(
        "noise", None, ["each_step", "each_episode"], "If not the checkpoint's."
    )
    flags.DEFINE_integer(
        "num_workers",
        None,
        "Processes of environments for a planner of actions, if not the checkpoint's.",
        lower_bound=0,
    )
    flags.DEFINE_integer(
        "num_candidates",
        None,
        "Plans to choose from by the predicted return, if not the checkpoint's.",
        lower_bound=1,
    )
    flags.DEFINE_string(
        "reward",
        None,
        "Workdir of train_reward, if not the student's own.",
    )
    flags.DEFINE_enum(
        "controller",
        None,
        ["position_velocity", "pursuit", "inverse_dynamics"],
        "What follows plans of states, if not the checkpoint's.",
    )
    flags.DEFINE_float(
        "gain_position",
        None,
        "Of the controller, per m (0: its own default), if not the checkpoint's.",
        lower_bound=0.0,
    )
    flags.DEFINE_integer(
        "replan_every",
        None,
        "Steps between plans of states (0: open loop), if not the checkpoint's.",
        lower_bound=0,
    )
    flags.DEFINE_string(
        "inverse_dynamics", None, "Workdir of inverse dynamics, for that one."
    )
    launch.run(main)
