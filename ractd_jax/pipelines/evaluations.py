"""Evaluates planners with a progress bar, and names and writes what comes out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ractd_jax.evaluation.results import EpisodeResults, save_results
from ractd_jax.evaluation.rollout import evaluate_planner
from ractd_jax.evaluation.state_rollout import StateResults, evaluate_controlled
from ractd_jax.evaluation.video import Film, write_videos
from ractd_jax.files import write_json
from ractd_jax.planning import Planner
from ractd_jax.planning.controllers import gain_text
from ractd_jax.planning.inverse_dynamics import InverseDynamicsModel
from ractd_jax.reports.statistics import summarize
from ractd_jax.settings import Controller, Environment


def evaluate_actions(
    planner: Planner,
    environment: Environment,
    num_episodes: int,
    seed: int,
    noise: str,
    label: str,
    num_workers: int | None = None,
    film: Film | None = None,
) -> EpisodeResults:
    """:func:`evaluate_planner` with a progress bar of finished episodes."""
    with tqdm(total=num_episodes, desc=label, unit="episode") as bar:

        def on_step(step, running):
            bar.set_postfix(env_step=step)
            bar.update(num_episodes - running - bar.n)

        if num_workers is None:
            num_workers = planner.settings.evaluation.num_workers
        return evaluate_planner(
            planner,
            environment,
            num_episodes,
            seed,
            noise,
            on_step,
            num_workers,
            film,
        )


def evaluate_states(
    planner: Planner,
    controller: Controller,
    environment: Environment,
    num_episodes: int,
    seed: int,
    noise: str,
    label: str,
    model: InverseDynamicsModel | None = None,
    film: Film | None = None,
) -> StateResults:
    """:func:`evaluate_controlled` with a progress bar of steps."""
    with tqdm(desc=label, unit="step") as bar:
        return evaluate_controlled(
            planner,
            controller,
            environment,
            num_episodes,
            seed,
            model=model,
            noise=noise,
            on_step=lambda step, running: bar.update(),
            film=film,
        )


def changed_controller(controller: Controller, **changes: Any) -> Controller:
    """`controller` with the options that are not None; 0 is the option's None."""
    given = {
        name: value or None for name, value in changes.items() if value is not None
    }
    return dataclasses.replace(controller, **given)


def evaluation_name(planner: Planner, noise: str, target_rank: float | None) -> str:
    """Of the files of an evaluation: the options that are not the usual ones."""
    name = f"{planner.stage}_{planner.num_steps}steps"
    if noise != "each_step":
        name += f"_noise_{noise}"
    if planner.num_candidates > 1:
        name += f"_{planner.num_candidates}candidates"
    if planner.precision != "float32":
        name += f"_{planner.precision}"
    if planner.temperature != 1.0 and planner.is_random:
        name += f"_temperature{planner.temperature:g}"
    if target_rank is not None:
        name += f"_rank{target_rank:g}"
    return name


def evaluate_to_files(
    planner: Planner,
    folder: Path,
    environment: Environment,
    num_episodes: int | None = None,
    seed: int | None = None,
    noise: str | None = None,
    *,
    target_rank: float | None = None,
    num_workers: int | None = None,
    controller: Controller | None = None,
    model: InverseDynamicsModel | None = None,
    num_videos: int = 0,
) -> dict[str, Any]:
    """Evaluates a planner; writes NAME.npz (raw returns) and NAME.json (statistics).

    Args:
      planner: of actions or of states.
      folder: of the two files.
      environment: what to make.
      num_episodes: if not the planner's settings'.
      seed: of the first reset, if not the planner's settings'.
      noise: ``each_step`` or ``each_episode``, if not the planner's settings'.
      target_rank: the one that the planner was loaded with, for the files' name.
      num_workers: of a planner of actions, if not the planner's settings'.
      controller: of a planner of states, what follows its plans.
      model: inverse dynamics, for the controller that has them.
      num_videos: films of the first episodes, NAME_episodeE.mp4.

    Returns:
      The statistics.
    """
    options = planner.settings.evaluation
    num_episodes = num_episodes or options.num_episodes
    seed = options.seed if seed is None else seed
    noise = noise or options.noise
    name = evaluation_name(planner, noise, target_rank)
    chosen = environment, num_episodes, seed, noise, name
    about, film = {}, Film(min(num_videos, num_episodes)) if num_videos else None
    if planner.dims.plans_states:
        controller = controller or planner.settings.controller
        found = evaluate_states(planner, controller, *chosen, model, film)
        results, about = found.episodes, _about_states(found, controller)
        name += f"_{controller.kind}_gain{gain_text(controller.gain_position)}"
        name += f"_replan{controller.replan_every or 0}"
    else:
        results = evaluate_actions(planner, *chosen, num_workers, film)
    save_results(folder / f"{name}.npz", results)
    summary = summarize(results, environment)
    summary |= {"nfe": planner.nfe, "environment": environment.id, "seed": seed}
    summary |= {"noise": noise, "num_candidates": planner.num_candidates, **about}
    summary |= {"precision": planner.precision, "temperature": planner.temperature}
    write_json(folder / f"{name}.json", summary)
    if film is not None:
        found = write_videos(film, environment, results.seeds, folder / name)
        summary["videos"] = [str(path) for path in found]
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
