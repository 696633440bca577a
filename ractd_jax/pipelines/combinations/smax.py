"""SMAX: one unit of a team in teams of kinds that its data never combined."""

from __future__ import annotations

import dataclasses

import numpy as np

from ractd_jax.errors import ConfigError
from ractd_jax.pipelines.combinations.control import Experiment, Outcomes
from ractd_jax.presets.combinations import get_smax
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.tasks.smax import WIN, environment_id
from ractd_jax.tasks.team_policy import load_packaged_team, packaged_teams

# What a split learns from, and how teams are drawn in each of its environments. Of
# any kinds 18% of teams of three are of one kind: "OOC, as drawn" has those, too.
SPLITS: dict[str, tuple[str, dict[str, str]]] = {
    "hard": (
        "one_kind",
        {"ID": "one_kind", "OOC": "mixed", "OOC, as drawn": "any_kinds"},
    ),
    "simple": ("any_kinds", {"ID": "any_kinds", "OOC": "one_kind"}),
}
_OBSERVED = 200  # battles


def smax_experiment(size: int, split: str, preset: str) -> Experiment:
    """The experiment of a size and a split.

    Args:
      size: units of each side.
      split: one of :data:`SPLITS`.
      preset: of :func:`ractd_jax.presets.combinations.get_smax`.

    Raises:
      ConfigError: no policy is shipped for teams of this size.
    """
    learned, teams = SPLITS[split]
    policy = f"smax-{size}v{size}-{learned}"
    if policy not in (shipped := packaged_teams()):
        raise ConfigError(
            f"--size: expected teams that are shipped ({', '.join(shipped)}), found "
            f"{policy} (experiments.train_team makes others)"
        )

    def settings(seed: int) -> Settings:
        found = from_mapping(get_smax(size, learned, preset).to_dict())
        return dataclasses.replace(found, seed=seed)

    def led_by(leader: str):
        def play(where: str, seeds: np.ndarray) -> Outcomes:
            rounds = _rounds(size, teams[where], learned, seeds, leader)
            steps = np.arange(rounds.rewards.shape[1])
            counted = np.where(steps < rounds.lengths[:, None], rounds.rewards, 0.0)
            return Outcomes(rounds.won, counted.sum(axis=1))

        return play

    def observed(where: str, seeds: np.ndarray) -> np.ndarray:
        """Of units that live, in battles that are not over."""
        rounds = _rounds(size, teams[where], learned, seeds[:_OBSERVED], "team")
        steps = np.arange(rounds.alive.shape[1])
        kept = rounds.alive & (steps < rounds.lengths[:, None])[..., None]
        return rounds.observations[kept]

    return Experiment(
        name=f"smax-{size}v{size}-{split}",
        event=WIN,
        settings=settings,
        environments={
            where: environment_id(size, learned, each) for where, each in teams.items()
        },
        references={
            "MAPPO": led_by("team"),
            "MAPPO, likeliest action": led_by("likeliest"),
            "random unit": led_by("random"),
        },
        observed=observed,
        assets={policy: load_packaged_team(policy).digest()},
        episodes=550,
    )


def _rounds(size: int, teams: str, learned: str, seeds: np.ndarray, leader: str):
    """Battles of the packaged team."""
    from ractd_jax.tasks.team_battle import packaged_battle, play_rounds

    return play_rounds(packaged_battle(size, teams, learned), seeds, leader)
