"""SMAX for Gymnasium: one agent of a team whose others follow a trained policy."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.spaces import Box, Discrete

from ractd_jax.errors import ConfigError
from ractd_jax.tasks.smax import LEARNED, SIZES, TEAMS, environment_id
from ractd_jax.tasks.team_battle import Play, TeamBattle, packaged_battle


def register_battles() -> None:
    """Makes every id of :func:`environment_id` known to Gymnasium; once is enough."""
    for size in SIZES:
        for learned in LEARNED:
            for teams in TEAMS:
                name = environment_id(size, learned, teams)
                if name not in gymnasium.registry:
                    gymnasium.register(
                        name,
                        entry_point=f"{__name__}:LedUnit",
                        kwargs={"size": size, "teams": teams, "learned": learned},
                        # A battle ends after as many by its own rules.
                        max_episode_steps=100,
                    )


class LedUnit(gymnasium.Env):
    """One unit of a team; observations [O], actions 0 .. 4 + n.

    The episode goes on until the battle is over, also where the unit has died.

    Args:
      size: n, units of each side.
      teams: how kinds are drawn, one of :data:`ractd_jax.tasks.smax.TEAMS`.
      learned: the teams that the others learned in.
      render_mode: None, there are no pictures.
    """

    metadata = {"render_modes": []}

    def __init__(
        self, size: int, teams: str, learned: str, render_mode: str | None = None
    ):
        if render_mode is not None:
            raise ConfigError(f"render_mode: expected None, found {render_mode!r}")
        self._team = packaged_battle(size, teams, learned)
        self._start, self._step = _compiled(self._team)
        battle = self._team.battle
        self.observation_space = Box(
            -np.inf, np.inf, (battle.observation_size,), np.float32
        )
        self.action_space = Discrete(battle.num_actions)
        self._play: Play | None = None
        self._agent = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new battle.

        Args:
          seed: of everything that is drawn in it.
          options: ``agent``, which unit is led; 0 by default.

        Raises:
          ConfigError: another option, or no such unit.
        """
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        options = dict(options or {})
        self._agent = options.pop("agent", 0)
        number = self._team.battle.num_agents
        if options or self._agent not in range(number):
            raise ConfigError(
                f"options: expected 'agent', 0 to {number - 1}, found "
                f"{options or self._agent}"
            )
        self._play = self._start(np.uint32(seed % 2**32))
        return self._seen(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Raises ValueError for an action that is not available."""
        if not self.action_masks()[action]:
            raise ValueError(
                f"expected an action of {np.flatnonzero(self.action_masks())}, found "
                f"{action}"
            )
        self._play, _, reward, over, won = self._step(
            self._play, self._agent, int(action)
        )
        info = {"won": bool(won)}
        return self._seen(), float(reward), bool(over), False, info

    def action_masks(self) -> np.ndarray:
        """[A] bool, which actions can be taken."""
        return np.asarray(self._play.scene.available)[self._agent]

    def _seen(self) -> np.ndarray:
        return np.asarray(self._play.scene.observations)[self._agent]


@functools.cache
def _compiled(team: TeamBattle):
    """(start, step) of all environments of a team."""

    def step(play, agent, action):
        play, actions, reward, over = team.step(play, agent, action)
        return play, actions, reward, over, team.battle.won(reward, over)

    return jax.jit(team.start), jax.jit(step)
