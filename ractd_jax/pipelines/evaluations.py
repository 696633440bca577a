"""Evaluates planners with a progress bar, and names and writes what comes out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.results import EpisodeResults, StateResults, save_results
from ractd_jax.evaluation.rollout import evaluate_planner
from ractd_jax.evaluation.state_rollout import evaluate_controlled
from ractd_jax.evaluation.video import Film, write_videos
from ractd_jax.files import check_writable, with_ending, write_json
from ractd_jax.planning import Planner
from ractd_jax.planning.inverse_dynamics import InverseDynamicsModel
from ractd_jax.reports.event_pictures import draw_events
from ractd_jax.reports.maze_paths import draw_paths
from ractd_jax.reports.statistics import summarize
from ractd_jax.settings import Controller, Environment
from ractd_jax.tasks import task_of
from ractd_jax.tasks.environments import check_environment

# What a score is made of, not what an episode depends on.
_SCORES = ("score_min", "score_max", "score_source")
_SOURCE = ("checkpoint", "step", "weights", "reward")
_LONGEST_NAME = 180


class Evaluation(NamedTuple):
    """What the results of a planner depend on besides the planner.

    Attributes:
      environment: what to make.
      num_episodes: how many.
      seed: of the first reset.
      noise: ``each_step`` or ``each_episode``.
      num_workers: of a planner of actions; its batches round otherwise.
      controller: of a planner of states, what follows its plans.
      inverse_dynamics: of the controller that has them.
    """

    environment: Environment
    num_episodes: int
    seed: int
    noise: str
    num_workers: int = 0
    controller: Controller | None = None
    inverse_dynamics: InverseDynamicsModel | None = None


def usual_evaluation(
    planner: Planner, environment: Environment | None = None, **changes: Any
) -> Evaluation:
    """That of the planner's settings, with the `changes` that are not None."""
    settings, options = planner.settings, planner.settings.evaluation
    usual = Evaluation(
        environment or settings.environment,
        options.num_episodes,
        options.seed,
        options.noise,
        0 if planner.dims.plans_states else options.num_workers,
        settings.controller if planner.dims.plans_states else None,
    )
    return usual._replace(**{k: v for k, v in changes.items() if v is not None})


def asked(planner: Planner, evaluation: Evaluation) -> dict[str, Any]:
    """Everything that the results depend on, as JSON has it.

    Folders are not in it: a model is known by the digest of its checkpoint.
    """
    environment = dataclasses.asdict(evaluation.environment)
    controller, model = evaluation.controller, evaluation.inverse_dynamics
    found = {
        "stage": planner.stage,
        **{name: planner.source.get(name) for name in _SOURCE},
        "num_steps": planner.num_steps,
        "temperature": planner.temperature if planner.is_random else None,
        "num_candidates": planner.num_candidates,
        "precision": planner.precision,
        "target_rank": _target_rank(planner),
        "environment": {k: v for k, v in environment.items() if k not in _SCORES},
        "num_episodes": evaluation.num_episodes,
        "seed": evaluation.seed,
        "noise": evaluation.noise,
        "num_workers": evaluation.num_workers,
        "controller": controller and dataclasses.asdict(controller),
        "inverse_dynamics": model and model.sha256,
    }
    if (weight := _guidance_weight(planner)) is not None:
        found["guidance_weight"] = weight
    return json.loads(json.dumps(found))


def results_path(planner: Planner, evaluation: Evaluation, folder: Path) -> Path:
    """Where the results lie in `folder`, without the suffix.

    The name says what is asked most, and whatever is not usual; it ends in a digest of
    :func:`asked`, so that no other question has the same.

    Raises:
      ConfigError: the planner is guided, by functions that no name can tell apart.
    """
    if planner.guidance:
        raise ConfigError(
            "guidance: expected none, as a name cannot say what its functions do, "
            f"found {len(planner.guidance)}: call evaluate_planner, and save_results "
            "under a name of your own"
        )
    model = Path(planner.source.get("directory", planner.stage)).name
    parts = [model, f"{planner.num_steps}steps"]
    if planner.is_random:
        parts.append(f"temperature{planner.temperature:g}")
    parts += [f"{evaluation.num_episodes}episodes", f"seed{evaluation.seed}"]
    parts += _unusual(planner, evaluation)
    return folder / results_name(parts, asked(planner, evaluation))


def results_name(parts: Iterable[str], about: Mapping[str, Any]) -> str:
    """`parts` in words, and a digest of all that the results depend on."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    words = re.sub(r"[^\w.+=-]", "_", "_".join(parts))
    return f"{words[:_LONGEST_NAME]}_{digest[:8]}"


def _unusual(planner: Planner, evaluation: Evaluation) -> list[str]:
    """What is not as most evaluations have it, in words."""
    parts, source = [], planner.source
    if source.get("weights", "ema") != "ema":
        parts.append(f"{source['weights']}_weights")
    if evaluation.environment.id != planner.settings.environment.id:
        parts.append(evaluation.environment.id)
    if evaluation.noise != "each_step":
        parts.append(f"noise_{evaluation.noise}")
    if planner.num_candidates > 1:
        reward = Path(source.get("reward_directory") or "rating").name
        parts.append(f"best_of_{planner.num_candidates}_{reward}")
    if planner.precision != "float32":
        parts.append(planner.precision)
    if (weight := _guidance_weight(planner)) not in (None, 1.0):
        parts.append(f"guidance{weight:g}")
    if planner.dims.rank:
        parts.append(f"rank{_target_rank(planner):g}")
    if evaluation.num_workers:
        parts.append(f"{evaluation.num_workers}workers")
    if (controller := evaluation.controller) is not None:
        gain = controller.gain_position
        parts += [controller.kind, "default_gain" if gain is None else f"gain{gain:g}"]
        parts.append(f"replan{controller.replan_every or 0}")
    return parts


def _target_rank(planner: Planner) -> float | None:
    """The rank that plans are asked for; None where they have none."""
    return planner.settings.evaluation.target_rank if planner.dims.rank else None


def _guidance_weight(planner: Planner) -> float | None:
    """The weight of the guidance by elements; None where there is no such guidance."""
    guided = planner.dims.elements and planner.method.takes_guidance
    return planner.settings.evaluation.guidance_weight if guided else None


def evaluate_actions(
    planner: Planner, evaluation: Evaluation, label: str, film: Film | None = None
) -> EpisodeResults:
    """:func:`evaluate_planner` with a progress bar of finished episodes."""
    num_episodes = evaluation.num_episodes
    # None: only on a terminal, as it would fill a file.
    with tqdm(total=num_episodes, desc=label, unit="episode", disable=None) as bar:

        def on_step(step, running):
            bar.set_postfix(env_step=step)
            bar.update(num_episodes - running - bar.n)

        return evaluate_planner(
            planner,
            evaluation.environment,
            num_episodes,
            evaluation.seed,
            evaluation.noise,
            on_step,
            evaluation.num_workers,
            film,
        )


def evaluate_states(
    planner: Planner, evaluation: Evaluation, label: str, film: Film | None = None
) -> StateResults:
    """:func:`evaluate_controlled` with a progress bar of steps."""
    with tqdm(desc=label, unit="step", disable=None) as bar:
        return evaluate_controlled(
            planner,
            evaluation.controller,
            evaluation.environment,
            evaluation.num_episodes,
            evaluation.seed,
            model=evaluation.inverse_dynamics,
            noise=evaluation.noise,
            on_step=lambda step, running: bar.update(),
            film=film,
        )


def changed_controller(controller: Controller, **changes: Any) -> Controller:
    """`controller` with the options that are not None; 0 is the option's None."""
    given = {
        name: value or None for name, value in changes.items() if value is not None
    }
    return dataclasses.replace(controller, **given)


def evaluate_to_files(
    planner: Planner, evaluation: Evaluation, folder: Path, num_videos: int = 0
) -> dict[str, Any]:
    """Evaluates a planner; writes NAME.npz (raw returns) and NAME.json (statistics).

    And NAME_events.png, where the environment family names events, and NAME_paths.png,
    for plans of states in a maze.

    Args:
      planner: of actions or of states.
      evaluation: of what.
      folder: of the two files, named by :func:`results_path`.
      num_videos: films of the first episodes beside them, NAME_episodeE.mp4.

    Returns:
      The statistics.

    Raises:
      DataError: the files cannot be written, found before the first episode.
      ConfigError: the environment cannot be made, or is not the data's.
    """
    path = results_path(planner, evaluation, folder)
    raw, statistics = with_ending(path, ".npz"), with_ending(path, ".json")
    check_writable(raw, statistics)
    environment, about, pictures = evaluation.environment, {}, {}
    check_environment(environment, planner.dims)
    film = Film(min(num_videos, evaluation.num_episodes)) if num_videos else None
    if planner.dims.plans_states:
        found = evaluate_states(planner, evaluation, path.name, film)
        results, about = found.episodes, _about_states(found, evaluation.controller)
        if (maze := task_of(environment.id).maze(environment.id)) is not None:
            pictures["paths_picture"] = str(with_ending(path, "_paths.png"))
            draw_paths(pictures["paths_picture"], maze, found)
    else:
        results = evaluate_actions(planner, evaluation, path.name, film)
    save_results(raw, results)
    picture = with_ending(path, "_events.png")
    if draw_events(picture, {planner.stage: results}):
        pictures["events_picture"] = str(picture)
    summary = summarize(results, environment)
    summary |= {"nfe": planner.nfe, "environment": environment.id}
    summary["score_source"] = environment.score_source
    summary |= {"seed": evaluation.seed, "noise": evaluation.noise}
    summary |= {"num_candidates": planner.num_candidates, **about}
    summary |= {"precision": planner.precision, "temperature": planner.temperature}
    summary["asked"] = asked(planner, evaluation)
    write_json(statistics, summary)
    summary |= pictures
    if film is not None:
        found = write_videos(film, environment, results.seeds, path)
        summary["videos"] = [str(video) for video in found]
    return summary


def _about_states(found: StateResults, controller: Controller) -> dict[str, Any]:
    """What followed the plans, and how they went."""
    return {
        "controller": controller.kind,
        "gain_position": controller.gain_position,
        "replan_every": controller.replan_every,
        "reached_share": float(found.reached.mean()),
        "collided_share": float(found.collided.mean()) if len(found.collided) else None,
    }
