"""Trains the policy of a team by MAPPO, and measures how often it wins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import logging

from ractd_jax.files import check_writable
from ractd_jax.online.mappo import MappoOptions, train_mappo
from ractd_jax.tasks.smax import LEARNED, TEAMS
from ractd_jax.tasks.team_policy import (
    TeamPolicy,
    load_team_policy,
    save_team_policy,
)

# Battles that measure a policy, on other seeds than a recording's first.
_ROUNDS, _FIRST_SEED = 1_000, 10_000_000


def train_team(
    size: int,
    learned: str,
    num_env_steps: int,
    seed: int,
    output: Path,
    command: str,
    options: MappoOptions | None = None,
) -> dict[str, float]:
    """Trains a policy and writes it; teams -> share of the battles that it wins.

    Args:
      size: units of each side.
      learned: teams that it learns in, one of :data:`ractd_jax.tasks.smax.LEARNED`.
      num_env_steps: steps of all battles together.
      seed: of the training.
      output: file of the policy.
      command: that made it, for the file's metadata.
      options: of the training; None for the defaults.

    Raises:
      ConfigError: JaxMARL is not installed.
      DataError: the file cannot be written.
    """
    from ractd_jax.tasks.battle import Battle

    assert learned in LEARNED, learned
    check_writable(output)

    def on_update(env_steps, info):
        logging.info("%d env steps: %s", env_steps, info)

    options = options or MappoOptions()
    battle = Battle(size, learned)
    found = train_mappo(battle, options, num_env_steps, seed, on_update)
    # Measured as it is stored, in half precision.
    save_team_policy(output, TeamPolicy(*found, {}))
    wins = win_rates(size, load_team_policy(output))
    metadata = {
        "environment": f"SMAX {size}v{size}",
        "teams": learned,
        "algorithm": "mappo",
        "env_steps": num_env_steps,
        "seed": seed,
        "command": command,
        "win_rates": wins,
    }
    save_team_policy(output, TeamPolicy(*found, metadata))
    return wins


def win_rates(
    size: int, policy: TeamPolicy, num_rounds: int = _ROUNDS
) -> dict[str, float]:
    """How teams are drawn -> share of `num_rounds` battles that `policy` wins."""
    from ractd_jax.tasks.battle import Battle
    from ractd_jax.tasks.team_battle import TeamBattle, play_rounds

    seeds = np.arange(_FIRST_SEED, _FIRST_SEED + num_rounds)
    rates = {}
    for teams in TEAMS:
        team = TeamBattle(Battle(size, teams), policy)
        rates[teams] = float(play_rounds(team, seeds).won.mean())
    return rates
