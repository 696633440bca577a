"""Battles of a team that follows a policy, but for at most one of its agents."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.errors import ConfigError, DataError
from ractd_jax.tasks.battle import Battle, Scene
from ractd_jax.tasks.team_policy import TeamPolicy, load_packaged_team

NOBODY = -1
# Who leads the own unit where no planner does: its policy like the others', what is
# available with equal chance, or its policy's likeliest action.
LEADERS = ("team", "random", "likeliest")
# Battles that are played side by side.
_SIZES = 16, 256
# Far from the small numbers, with which fold_in gives the keys that split does.
_RANDOM_STREAM = 2**31 - 1
# Of battles: a planner's keys are folded from the same seeds.
_BATTLE_STREAM = 2**31 - 2


class Play(NamedTuple):
    """A battle as it stands.

    Attributes:
      scene: what is seen.
      state: of the battle.
      hidden: [n, W] what the agents remember.
      key: of all that is drawn from here on.
    """

    scene: Scene
    state: Any
    hidden: jax.Array
    key: jax.Array


class TeamBattle(NamedTuple):
    """A battle and the policy of its team; the methods are pure.

    Attributes:
      battle: its rules.
      policy: that the agents follow.
    """

    battle: Battle
    policy: TeamPolicy

    def start(self, seed: jax.Array) -> Play:
        """The beginning that `seed` draws."""
        key = jax.random.fold_in(jax.random.key(seed), _BATTLE_STREAM)
        key, reset_key = jax.random.split(key)
        scene, state = self.battle.reset(reset_key)
        hidden = self.policy.network.start(self.battle.num_agents)
        return Play(scene, state, hidden, key)

    def step(
        self, play: Play, agent: jax.Array, action: jax.Array
    ) -> tuple[Play, jax.Array, jax.Array, jax.Array]:
        """(play, actions [n], reward, whether it is over).

        Args:
          play: as it stands.
          agent: who takes `action`; :data:`NOBODY` for a team without exception.
          action: of that agent, one that is available.
        """
        scene, state, hidden, key = play
        key, draw_key, step_key = jax.random.split(key, 3)
        hidden, logits = self.policy.logits(hidden, scene.observations, scene.available)
        actions = jax.random.categorical(draw_key, logits)
        own = jnp.arange(self.battle.num_agents) == agent
        actions = jnp.where(own, action, actions)
        scene, state, reward, over = self.battle.step(step_key, state, actions)
        return Play(scene, state, hidden, key), actions, reward, over


@functools.cache
def packaged_battle(size: int, teams: str, learned: str) -> TeamBattle:
    """A battle with the packaged policy of teams that learned as `learned`.

    Raises:
      ConfigError: no policy is shipped for teams of this size.
    """
    try:
        policy = load_packaged_team(f"smax-{size}v{size}-{learned}")
    except DataError as error:
        raise ConfigError(
            f"environment.id: expected a size that a team's policy is shipped for, "
            f"found {size} ({error})"
        ) from None
    return TeamBattle(Battle(size, teams), policy)


class Rounds(NamedTuple):
    """R whole battles of T steps at most, as numpy arrays.

    Attributes:
      observations: [R, T + 1, n, O].
      actions: [R, T, n].
      alive: [R, T + 1, n] bool.
      rewards: [R, T].
      lengths: [R] steps until the battle was over.
      won: [R] bool.
      kinds: [R, 2 n] of the allies and the enemies.
    """

    observations: np.ndarray
    actions: np.ndarray
    alive: np.ndarray
    rewards: np.ndarray
    lengths: np.ndarray
    won: np.ndarray
    kinds: np.ndarray


def play_rounds(team: TeamBattle, seeds: np.ndarray, leader: str = "team") -> Rounds:
    """Plays the battles of `seeds` side by side.

    Args:
      team: the battle and its team.
      seeds: [R], of the beginnings and of all that is drawn.
      leader: of the first agent, one of :data:`LEADERS`.
    """
    play = _play(team.battle, team.policy.network)
    # Few sizes, as each is compiled; what is played twice is left out.
    size = _SIZES[len(seeds) > _SIZES[0]]
    parts = []
    for first in range(0, len(seeds), size):
        chosen = np.resize(seeds[first : first + size], size).astype(np.uint32)
        played = play(team.policy.params, chosen, LEADERS.index(leader))
        count = min(size, len(seeds) - first)
        parts.append([np.asarray(array)[:count] for array in played])
    played = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    observations, actions, alive, rewards, over, kinds = played
    lengths = over.argmax(axis=1) + 1
    last = np.take_along_axis(rewards, lengths[:, None] - 1, axis=1)[:, 0]
    won = np.asarray(team.battle.won(last, np.ones(len(last), bool)))
    return Rounds(observations, actions, alive, rewards, lengths, won, kinds)


@functools.cache
def _play(battle: Battle, network):
    """(parameters, seeds, leader) -> arrays of :class:`Rounds`, compiled once."""

    def one(params, seed, leader):
        team = TeamBattle(battle, TeamPolicy(network, params, {}))
        play = team.start(seed)
        kinds = battle.kinds(play.state)
        agent = jnp.where(leader == LEADERS.index("team"), NOBODY, 0)

        def step(play, _):
            # A stream of its own, so that the others draw as they would.
            key = jax.random.fold_in(play.key, _RANDOM_STREAM)
            available = play.scene.available
            chances = jnp.where(available[0], 0.0, -jnp.inf)
            _, logits = team.policy.logits(
                play.hidden, play.scene.observations, available
            )
            action = jnp.where(
                leader == LEADERS.index("random"),
                jax.random.categorical(key, chances),
                logits[0].argmax(),
            )
            seen = play.scene.observations, battle.alive(play.state)
            play, actions, reward, over = team.step(play, agent, action)
            return play, (*seen, actions, reward, over)

        play, rows = jax.lax.scan(step, play, None, length=battle.num_steps)
        observations, alive, actions, rewards, over = rows
        observations = jnp.concatenate([observations, play.scene.observations[None]])
        alive = jnp.concatenate([alive, battle.alive(play.state)[None]])
        return observations, actions, alive, rewards, over, kinds

    return jax.jit(jax.vmap(one, in_axes=(None, 0, None)))
