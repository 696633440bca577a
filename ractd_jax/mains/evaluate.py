"""Evaluates a teacher or student in closed loop on true returns.

  python -m experiments.evaluate --checkpoint=runs/student --num_episodes=100

Writes DIR/evaluation/NAME.npz (raw returns) and NAME.json (statistics), or both in the
folder --output. NAME says what was asked, so that no other question's answer is lost.
"""

import json
from pathlib import Path

from absl import flags

import ractd_jax
from ractd_jax.data.sources import changed_environment
from ractd_jax.evaluation.video import choose_renderer
from ractd_jax.mains import flag_kinds, launch
from ractd_jax.pipelines.evaluations import (
    changed_controller,
    evaluate_to_files,
    usual_evaluation,
)
from ractd_jax.planning import PRECISIONS, load_inverse_dynamics

FLAGS = flags.FLAGS
_LOADED = (
    *("num_steps", "weights", "num_candidates", "reward", "precision"),
    *("temperature", "target_rank", "guidance_weight"),
)
_ASKED = ("num_episodes", "seed", "noise", "num_workers")
_CONTROLLER = ("gain_position", "replan_every")
_OF_STATES = ("controller", "inverse_dynamics", *_CONTROLLER)


def values_of(names) -> dict:
    return {name: FLAGS[name].value for name in names}


def main():
    if FLAGS.video:
        choose_renderer()
    planner = ractd_jax.load_planner(FLAGS.checkpoint, **values_of(_LOADED))
    environment = changed_environment(
        planner.settings.environment, FLAGS.environment, FLAGS.max_episode_steps
    )
    evaluation = usual_evaluation(planner, environment, **values_of(_ASKED))
    flag_kinds.expect_none(
        ("num_workers",) if planner.dims.plans_states else _OF_STATES,
        f"a planner of {planner.settings.plan.kind}",
    )
    if planner.dims.plans_states:
        options = {"kind": FLAGS.controller, **values_of(_CONTROLLER)}
        model = FLAGS.inverse_dynamics and load_inverse_dynamics(FLAGS.inverse_dynamics)
        evaluation = evaluation._replace(
            controller=changed_controller(planner.settings.controller, **options),
            inverse_dynamics=model or None,
        )
    folder = Path(FLAGS.output or Path(FLAGS.checkpoint) / "evaluation")
    summary = evaluate_to_files(planner, evaluation, folder, FLAGS.video)
    print(json.dumps(summary, indent=2))


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flag_kinds.define_path(
        "checkpoint", None, "Workdir of a planner's training.", required=True
    )
    flag_kinds.define_path("output", None, "Folder of the results, if not its own.")
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
    flags.DEFINE_float(
        "guidance_weight",
        None,
        "Weight of a teacher's guidance by the elements of a scene, if not the "
        "checkpoint's.",
        lower_bound=0.0,
    )
    flags.DEFINE_string("environment", None, "Gymnasium id, if not the checkpoint's.")
    flags.DEFINE_integer(
        "max_episode_steps",
        None,
        "Steps after which an episode is cut off, if not the environment's.",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "num_episodes", None, "Episodes, if not the checkpoint's.", lower_bound=1
    )
    flag_kinds.define_seed("seed", None, "First reset's seed, if not the checkpoint's.")
    flags.DEFINE_integer(
        "video",
        0,
        "Films of the first episodes, beside the results: .mp4, or .gif where "
        "imageio-ffmpeg is not installed.",
        lower_bound=0,
    )
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
    flag_kinds.define_path(
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
    flag_kinds.define_path(
        "inverse_dynamics", None, "Workdir of inverse dynamics, for that one."
    )
    launch.run(main)
