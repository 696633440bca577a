"""Samplers, controllers and replanning on maze2d, as in Duan (2025), table B.6.

  python -m experiments.maze_table --maze=umaze,medium,large --workdir=runs/maze \
      --output=docs/results/maze_table

For each maze: records the dataset, trains the DDPM model, the EDM teacher, the reward
model, the inverse dynamics, CTD and RACTD, evaluates them from the same random starts,
and times them. Restartable: what is finished is not run again.
"""

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags, logging
from tqdm import tqdm

import ractd_jax
from configs import base
from experiments import launch
from ractd_jax.data.maze_map import MAZES, maze_map, maze_of_environment
from ractd_jax.data.point_maze import WaypointController
from ractd_jax.data.sources import load_resolved
from ractd_jax.evaluation.environments import check_environment
from ractd_jax.evaluation.latency import one_core, plan_latency
from ractd_jax.evaluation.maze_report import format_tables
from ractd_jax.evaluation.rollout import run_episodes, save_results
from ractd_jax.evaluation.state_rollout import (
    evaluate_controlled,
    save_state_results,
)
from ractd_jax.evaluation.statistics import summarize
from ractd_jax.files import write_json
from ractd_jax.networks.temporal_unet import CONDITIONINGS
from ractd_jax.pipelines.trainings import prepare_dataset, train_all
from ractd_jax.planning import Planner, load_inverse_dynamics
from ractd_jax.planning.controllers import gain_text
from ractd_jax.settings import Controller, Settings, from_mapping
from ractd_jax.training.loop import train
from ractd_jax.training.stages import (
    dimensions,
    make_stage,
    student_stage,
)

FLAGS = flags.FLAGS
_DIFFUSER_STEPS = 256


class Entry(NamedTuple):
    """One evaluation.

    Attributes:
      label: its row.
      model: folder of the trained model.
      steps: of its sampler; 0 for the default.
      candidates: N, plans to choose from.
      controller: what follows the plans, and how often they are made anew.
    """

    label: str
    model: str
    steps: int = 0
    candidates: int = 1
    controller: Controller = Controller()

    @property
    def file(self) -> str:
        parts = [self.model, f"{self.steps}steps", f"{self.candidates}candidates"]
        options = self.controller
        parts += [options.kind, f"gain{gain_text(options.gain_position)}"]
        return "_".join([*parts, f"replan{options.replan_every or 0}"])


def samplers(settings: Settings) -> list[Entry]:
    """The rows of table B.6: one open-loop plan each."""
    steps = settings.diffusion.num_scales - 1
    timesteps = settings.ddpm.num_timesteps
    few = min(10, timesteps - 1)
    follow = settings.controller
    return [
        Entry(f"DDPM, {timesteps} steps", "ddpm", timesteps, controller=follow),
        Entry(f"DDIM, {few} steps", "ddpm", few, controller=follow),
        Entry("DDIM, 1 step", "ddpm", 1, controller=follow),
        Entry(f"EDM teacher, {steps} Heun steps", "teacher", steps, controller=follow),
        Entry("CTD, 1 step", "ctd", 1, controller=follow),
        Entry("RACTD, 1 step", "ractd", 1, controller=follow),
    ]


def additions(settings: Settings, conditionings: Sequence[str]) -> list[Entry]:
    """What conditioning, controller, candidates and replanning add to one plan."""

    def entry(label, candidates=1, model="ractd", steps=1, **controller):
        follow = dataclasses.replace(settings.controller, **controller)
        return Entry(label, model, steps, candidates, follow)

    diffuser = {"gain_position": 1.0, "gain_velocity": 1.0}
    steps = settings.evaluation.teacher_steps
    others = []
    for name in conditionings:
        others += [
            entry(f"RACTD, conditioning={name}", model=f"ractd_{name}"),
            entry(
                f"EDM teacher, {steps} steps, conditioning={name}",
                model=f"teacher_{name}",
                steps=steps,
            ),
        ]
    return [
        entry("RACTD"),
        entry(f"EDM teacher, {steps} steps", model="teacher", steps=steps),
        *others,
        entry("RACTD, Diffuser's controller (1 per m)", **diffuser),
        entry("RACTD, inverse dynamics", kind="inverse_dynamics"),
        entry("RACTD, pursuit", kind="pursuit", gain_position=None, gain_velocity=None),
        entry("RACTD, best of 16", 16),
        entry("RACTD, best of 64", 64),
        entry("RACTD, replanned every 50 steps", replan_every=50),
        entry("RACTD, replanned every 10 steps", replan_every=10),
        entry("RACTD, best of 16, every 50 steps", 16, replan_every=50),
    ]


def train_maze(
    settings: Settings, dataset, workdir: Path, conditionings: Sequence[str]
) -> dict[str, float]:
    """Trains everything, or finds it trained; seconds of what was run."""

    def run(stage, name):
        train(stage, settings.run, settings.seed, workdir / name)

    start = time.perf_counter()
    names = ("teacher", "reward", "ctd", "ractd")
    train_all(names, settings, dataset, workdir)
    for name in ("ddpm", "inverse_dynamics"):
        run(make_stage(name, settings, dataset), name)
    for name in conditionings:
        other = from_mapping({"plan": {"conditioning": name}}, settings)
        teacher = workdir / f"teacher_{name}"
        run(make_stage("teacher", other, dataset), teacher.name)
        student = student_stage(other, dataset, teacher, workdir / "reward")
        run(student, f"ractd_{name}")
    return {"train_seconds": time.perf_counter() - start}


class _Waypoints:
    """The recording's own controller, which knows the walls."""

    compile_seconds = 0.0

    def __init__(self, maze):
        self._maze, self._controllers = maze, {}

    def act(self, observations, episodes, step):
        del step
        return np.stack(
            [
                self._act(int(e), o)
                for e, o in zip(episodes, observations[:, -1], strict=True)
            ]
        )

    def _act(self, episode, observation):
        observation = observation.astype(np.float64)
        if episode not in self._controllers:
            self._controllers[episode] = WaypointController(self._maze)
            self._controllers[episode].set_goal(observation[:2], observation[4:])
        return self._controllers[episode].act(observation[:4])


def evaluate_entry(entry: Entry, settings: Settings, workdir: Path) -> dict:
    """The row of an entry; evaluated unless that is done for as many episodes."""
    path = workdir / "evaluation" / f"{entry.file}.json"
    options = settings.evaluation
    if path.exists():
        row = json.loads(path.read_text())
        if row["episodes"] == options.num_episodes:
            return row
    planner = ractd_jax.load_planner(
        workdir / entry.model,
        num_steps=entry.steps or None,
        num_candidates=entry.candidates,
        reward=workdir / "reward",
    )
    model = None
    if entry.controller.kind == "inverse_dynamics":
        model = load_inverse_dynamics(workdir / "inverse_dynamics")
    with tqdm(desc=f"{workdir.name}: {entry.label}", unit="step") as bar:
        found = evaluate_controlled(
            planner,
            entry.controller,
            settings.environment,
            options.num_episodes,
            options.seed,
            model=model,
            noise=options.noise,
            on_step=lambda step, running: bar.update(),
        )
    save_state_results(path.with_suffix(".npz"), found)
    row = summarize(found.episodes, settings.environment) | {
        "nfe": planner.nfe,
        "reached_share": float(found.reached.mean()),
        "collided_share": float(found.collided.mean()),
        "plans": len(found.collided),
        "entry": {**entry._asdict(), "controller": vars(entry.controller)},
    }
    write_json(path, row)
    return row


def evaluate_behaviour(settings: Settings, workdir: Path, dims) -> dict:
    """The row of the recording's own controller."""
    options = settings.evaluation
    maze = maze_map(maze_of_environment(settings.environment.id))
    found = run_episodes(
        _Waypoints(maze),
        dims,
        settings.environment,
        options.seed + np.arange(options.num_episodes),
    )
    save_results(workdir / "evaluation" / "behaviour.npz", found)
    return summarize(found, settings.environment) | {
        "nfe": 0,
        "reached_share": float((found.returns > 0).mean()),
        "collided_share": None,
        "seconds_per_plan": None,
    }


def time_plans(settings: Settings, workdir: Path, entries) -> dict[str, float]:
    """Median seconds of a batch-1 plan on one core, by model and steps."""

    def load(entry):
        return ractd_jax.load_planner(
            workdir / entry.model, num_steps=entry.steps or None
        )

    found = {}
    with one_core():
        for entry in entries:
            planner = load(entry)
            calls = 300 if planner.nfe < 20 else 20
            found[f"{entry.model}_{entry.steps}"] = plan_latency(planner, calls)["p50"]
        ddpm = load(entries[0])
        diffuser = from_mapping(
            {"ddpm": {"num_timesteps": _DIFFUSER_STEPS}}, ddpm.settings
        )
        # Untrained for as many steps, which its time does not depend on.
        ddpm = Planner(
            diffuser,
            ddpm.dims,
            "ddpm",
            ddpm.params,
            ddpm.observation_normalizer,
            ddpm.action_normalizer,
            _DIFFUSER_STEPS,
        )
        found["ddpm_256"] = plan_latency(ddpm, 20)["p50"]
    return found


def run_maze(maze: str, workdir: Path) -> dict:
    """Everything of one maze."""
    settings = from_mapping(base.get_maze2d(maze, FLAGS.preset).to_dict())
    if FLAGS.num_episodes:
        settings = from_mapping(
            {"evaluation": {"num_episodes": FLAGS.num_episodes}}, settings
        )
    if FLAGS.root:
        settings = from_mapping({"dataset": {"root": FLAGS.root}}, settings)
    settings = prepare_dataset(settings, workdir)
    settings, dataset = load_resolved(settings)
    dims = dimensions(settings, dataset)
    check_environment(settings.environment, dims)
    report = workdir / "training.json"
    seconds = train_maze(settings, dataset, workdir, FLAGS.conditionings)
    if not report.exists():
        write_json(report, seconds)
    if FLAGS.train_only:
        return {}
    entries = samplers(settings)
    timed = workdir / "latency.json"
    if not timed.exists():
        write_json(timed, time_plans(settings, workdir, entries))
    latency = json.loads(timed.read_text())
    rows = {}
    for entry in entries:
        row = evaluate_entry(entry, settings, workdir)
        row["seconds_per_plan"] = latency[f"{entry.model}_{entry.steps}"]
        rows[entry.label] = row
    rows["the recording's controller"] = evaluate_behaviour(settings, workdir, dims)
    steps = settings.diffusion.num_scales - 1
    return {
        "samplers": rows,
        "additions": {
            entry.label: evaluate_entry(entry, settings, workdir)
            for entry in additions(settings, FLAGS.conditionings)
        },
        "latency": {
            "ractd": latency["ractd_1"],
            "teacher": latency[f"teacher_{steps}"],
            "ddpm_256": latency["ddpm_256"],
        },
        "training": json.loads(report.read_text()),
        "versions": json.loads((workdir / "ractd/environment.json").read_text()),
    }


def main():
    results: dict[str, dict] = {}
    for maze in FLAGS.maze:
        logging.info("maze %s", maze)
        results[maze] = run_maze(maze, Path(FLAGS.workdir) / maze)
    if FLAGS.train_only:
        return
    output = Path(FLAGS.output or Path(FLAGS.workdir) / "maze_table")
    write_json(output.with_suffix(".json"), results)
    text = format_tables(results)
    output.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    flags.DEFINE_list("maze", list(MAZES), "Mazes, with commas.")
    flags.DEFINE_string("workdir", None, "Folder for everything.", required=True)
    flags.DEFINE_string("preset", "cpu", "Preset of configs/maze2d_*.py.")
    flags.DEFINE_string("output", None, "Where the tables go, without the suffix.")
    flags.DEFINE_string("root", None, "Minari root, if the datasets are recorded.")
    flags.DEFINE_integer(
        "num_episodes", None, "Starts, if not the preset's.", lower_bound=1
    )
    flags.DEFINE_multi_enum(
        "conditionings",
        [],
        CONDITIONINGS,
        "Values of plan.conditioning to train a teacher and a student with besides.",
    )
    flags.DEFINE_bool("train_only", False, "Stop after the training.")
    flags.register_validator(
        "maze",
        lambda mazes: mazes and set(mazes) <= set(MAZES),
        f"expected some of {', '.join(MAZES)}",
    )
    launch.run(main)
