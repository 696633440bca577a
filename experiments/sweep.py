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

import json
from pathlib import Path

import jax
from absl import flags, logging

from experiments import launch
from ractd_jax.data.sources import load_resolved
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.members import evaluate_members, member_params
from ractd_jax.evaluation.results_writer import ResultsWriter, result_row
from ractd_jax.files import write_json
from ractd_jax.normalizers import normalizer_from_dict
from ractd_jax.planning import Planner
from ractd_jax.settings import Settings, from_mapping, to_dict
from ractd_jax.storage.checkpoint import Checkpointer
from ractd_jax.training import stages
from ractd_jax.training.sweep import (
    make_grid,
    member_settings,
    shared_settings,
    train_grid,
)

FLAGS = flags.FLAGS


def planner_of(stage, settings: Settings, params) -> Planner:
    """A planner of the stage; what its members' planners share."""
    normalizers = {
        name: normalizer_from_dict(value)
        for name, value in stage.metadata["normalizers"].items()
    }
    student = stage.name == "student"
    return Planner(
        settings,
        Dimensions(**stage.metadata["dimensions"]),
        stage.name,
        params,
        normalizers["observations"],
        normalizers["actions"],
        num_steps=settings.evaluation.student_steps
        if student
        else settings.evaluation.teacher_steps,
        temperature=settings.evaluation.temperature,
    )


def evaluate_all(
    stage, settings, members, step, states, finite, results, episodes
) -> None:
    """Adds a row of each member at this step; of one that is not finite, that."""
    options, environment = settings.evaluation, settings.environment
    planner = planner_of(stage, settings, member_params(states.ema_params, 0))
    found = evaluate_members(
        planner, states.ema_params, environment, episodes, options.seed, options.noise
    )
    for i, member in enumerate(members):
        returns = found[i].returns if finite[i] else None
        row = result_row(
            member.name,
            dict(member.values),
            member.seed,
            settings,
            step,
            step == stage.num_steps,
            returns,
        )
        results.add(row, returns)
    results.write()


def write_members(stage, settings, members, states, workdir) -> None:
    """Each member's own workdir: config.json and the last checkpoint."""
    for i, member in enumerate(members):
        folder = workdir / "members" / member.name
        own = to_dict(from_mapping(member_settings(stage.name, member), settings))
        checkpointer = Checkpointer(folder)
        state = jax.tree.map(lambda leaf, i=i: leaf[i], states)
        if checkpointer.latest_step() != int(state.step):
            checkpointer.save(state, stage.metadata | {"settings": own})
        checkpointer.close()
        write_json(folder / "config.json", own)


def make_stage(settings: Settings, dataset):
    """The stage that the members share.

    Raises:
      ConfigError: values without the model that they need.
    """
    if FLAGS.stage != "student":
        return stages.make_stage(FLAGS.stage, settings, dataset)
    if not FLAGS.teacher:
        raise ConfigError("--teacher: expected the workdir of train_teacher")
    return stages.student_stage(settings, dataset, FLAGS.teacher, FLAGS.reward)


def main():
    settings, dataset = load_resolved(launch.settings_from_flags())
    grid = make_grid(FLAGS.sweep, FLAGS.seeds, FLAGS.stage)
    members = grid.members
    workdir = Path(FLAGS.workdir)
    stage = make_stage(shared_settings(FLAGS.stage, grid, settings), dataset)
    about = {
        "stage": stage.name,
        "settings": to_dict(settings),
        "members": [member._asdict() for member in members],
    }
    path = workdir / "sweep.json"
    if path.exists() and json.loads(path.read_text()) != json.loads(json.dumps(about)):
        raise ConfigError(
            f"{workdir} holds another sweep ({path.name} differs): use another "
            "--workdir, or remove this one"
        )
    write_json(path, about)
    results = ResultsWriter(workdir)
    episodes = settings.evaluation.num_episodes
    if FLAGS.num_episodes is not None:
        episodes = FLAGS.num_episodes
    if stage.name == "reward":
        episodes = 0  # A reward model does not act.

    def on_checkpoint(step, states, finite):
        if episodes and not all(results.has(m.name, step) for m in members):
            evaluate_all(
                stage, settings, members, step, states, finite, results, episodes
            )

    states, finite = train_grid(stage, grid, settings.run, workdir, on_checkpoint)
    write_members(stage, settings, members, states, workdir)
    for member, ok in zip(members, finite, strict=True):
        if not ok:
            logging.warning("%s went non-finite and was frozen", member.name)
    print(
        f"{int(finite.sum())} of {len(members)} members finished; see "
        f"{workdir}/results.jsonl"
    )


if __name__ == "__main__":
    launch.define_config_flags()
    flags.DEFINE_enum(
        "stage", "student", ["teacher", "reward", "student"], "What is trained."
    )
    flags.DEFINE_string("teacher", None, "Workdir of train_teacher, for students.")
    flags.DEFINE_string("reward", None, "Workdir of train_reward, for students.")
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
