"""Reward models and critics of recorded mixtures: how each ranks actions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ractd_jax.data.episodes import return_to_go
from ractd_jax.data.ranking import preferred_share, rank_within
from ractd_jax.data.sources import OfflineDataset, load_resolved
from ractd_jax.files import check_writable, write_json
from ractd_jax.machine import commit, machine
from ractd_jax.pipelines import trainings
from ractd_jax.pipelines.benchmark import asked_settings, check_same_settings
from ractd_jax.recording.behaviour import PolicySnapshots, load_packaged_snapshots
from ractd_jax.recording.rollouts import mixture, parts_of_episodes
from ractd_jax.settings import Settings
from ractd_jax.storage.trained import load_rating
from ractd_jax.tables import markdown_table
from ractd_jax.training.stages import base_metadata, split_episodes

RATINGS = {
    "return-to-go": "reward",
    "SARSA": "critic_sarsa",
    "IQL": "critic_iql",
}
_STATES, _ROWS = 2_048, 40_000
_DISCOUNT = 0.99


class _Mixture:
    """A recorded dataset whose policies are known."""

    def __init__(self, settings: Settings, dataset: OfflineDataset):
        environment, _, kind = settings.task.partition("-")
        snapshots = load_packaged_snapshots(environment)
        parts = mixture(snapshots, kind, settings.dataset.num_transitions)
        self.policies = [policy for policy, _ in parts]
        self.strength = [_return_of(snapshots, policy) for policy in self.policies]
        episodes, shares = dataset.episodes, [share for _, share in parts]
        of_episode = parts_of_episodes(episodes.lengths, shares)
        self.part = np.repeat(of_episode, episodes.lengths)


def _return_of(snapshots: PolicySnapshots, policy) -> float:
    about: Any = snapshots.metadata["snapshots"]
    name = next(n for n, each in snapshots.policies.items() if each is policy)
    return about[name]["return_mean"]


def rank_ratings(settings: Settings, dataset: OfflineDataset, workdir: Path) -> dict:
    """Of each of :data:`RATINGS` trained in `workdir`, how it ranks.

    Returns:
      Label -> ``correlation`` of its values with the discounted return-to-go of
      held-out steps within one policy; ``advantage``, the same of the advantages of a
      critic; ``preferred``, see :func:`ractd_jax.data.ranking.preferred_share`,
      over all pairs of the mixture's policies, None for a single one.
    """
    known, episodes = _Mixture(settings, dataset), dataset.episodes
    rng = np.random.default_rng(0)
    _, held = split_episodes(
        episodes.starts, settings.critic.holdout_fraction, settings.dataset.seed
    )
    held = rng.permutation(held)[:_ROWS]
    returns = return_to_go(episodes, _DISCOUNT)[held]
    states = episodes.observations[rng.permutation(episodes.num_transitions)[:_STATES]]
    order = np.argsort(known.strength)
    actions = [known.policies[i].act(states, None) for i in order]
    metadata = base_metadata("student", settings, dataset)
    found = {}
    for label, name in RATINGS.items():
        rating, params, _ = load_rating(workdir / name, settings, metadata, None)

        def rate(observations, actions, function):
            return np.asarray(
                function(
                    dataset.observation_normalizer.normalize(observations),
                    dataset.action_normalizer.normalize(actions),
                )
            )

        values = jax.jit(rating.reward_fn(params, 0.0))
        rows = episodes.observations[held], episodes.actions[held]
        part = known.part[held]
        row = {
            "correlation": rank_within(rate(*rows, values), returns, part),
            "advantage": None,
            "preferred": None,
        }
        if hasattr(rating, "advantages"):
            advantages = jax.jit(lambda s, a, c=rating, p=params: c.advantages(p, s, a))
            row["advantage"] = rank_within(rate(*rows, advantages), returns, part)
        if len(actions) > 1:
            row["preferred"] = preferred_share(
                lambda s, a, f=values: rate(s, a, f), states, actions
            )
        found[label] = row
    return found


def is_ranked(path: Path, settings: Settings) -> bool:
    """Whether :func:`rank_cell` has written `path` for these settings.

    Raises:
      ConfigError: it has, for others.
    """
    if not path.exists():
        return False
    before = json.loads(path.read_text())["about"].get("settings")
    check_same_settings(path, before, asked_settings(settings))
    return True


def rank_cell(settings: Settings, workdir: Path, path: Path) -> None:
    """Trains what :func:`rank_ratings` ranks, unless it is there, and ranks it.

    Raises:
      DataError: `path` cannot be written.
    """
    check_writable(path)
    asked = asked_settings(settings)
    settings = trainings.prepare_dataset(settings, workdir)
    settings, dataset = load_resolved(settings)
    folder = workdir / settings.task / f"seed_{settings.seed}"
    seconds = trainings.train_all(RATINGS.values(), settings, dataset, folder)
    about = {**machine(), "commit": commit(), "seconds": seconds}
    about |= {"steps": settings.critic.num_steps}
    about |= {"critic": dataclasses.asdict(settings.critic), "settings": asked}
    ranks = rank_ratings(settings, dataset, folder)
    write_json(
        path,
        {
            "task": settings.task,
            "seed": settings.seed,
            "ranks": ranks,
            "about": about,
        },
    )


_COLUMNS = {
    "correlation": "values",
    "advantage": "advantages",
    "preferred": "better policy preferred",
}
_NOTE = (
    "Values, advantages: Spearman's rank correlation of the predicted value (of the "
    "advantage Q - V) of held-out actions with their discounted return-to-go, within "
    "the data of one policy and averaged over policies. Better policy preferred: share "
    "of states and pairs of the mixture's policies in which the action of the one with "
    "the higher return gets the higher value; 50% is chance. A value is the mean of an "
    "ensemble's members, without pessimism. Means over seeds."
)


def format_ranks(cells: Iterable[Mapping[str, Any]]) -> str:
    """Ranks by task, as a Markdown table with a note."""
    cells = list(cells)
    tasks = list(dict.fromkeys(cell["task"] for cell in cells))
    header = ["task"] + [
        f"{label}: {column}"
        for label in RATINGS
        for name, column in _COLUMNS.items()
        if not (label == "return-to-go" and name == "advantage")
    ]
    rows = []
    for task in tasks:
        row = [task]
        for label in RATINGS:
            for name in _COLUMNS:
                if label == "return-to-go" and name == "advantage":
                    continue
                values = [
                    cell["ranks"][label][name] for cell in cells if cell["task"] == task
                ]
                row.append(_mean_text(values, percent=name == "preferred"))
        rows.append(row)
    seeds = sorted({cell["seed"] for cell in cells})
    commits = sorted({cell["about"]["commit"] for cell in cells})
    about = (
        f"Training seeds {', '.join(map(str, seeds))}; critics of "
        f"{cells[0]['about']['steps']:,} steps; {cells[0]['about']['processor']}; "
        f"commit {', '.join(commits)}."
    )
    return "\n".join([about, "", markdown_table(header, rows), "", _NOTE]) + "\n"


def _mean_text(values, percent: bool) -> str:
    if None in values:
        return "-"
    mean = float(np.mean(values))
    return f"{100 * mean:.0f}%" if percent else f"{mean:.2f}"
