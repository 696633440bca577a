"""JaxMARL's SMAX as pure functions of one battle, with teams of chosen kinds.

Rules, observations and the enemy's heuristic are JaxMARL's. Rewards are too: the
share of the enemies' health that a step costs them, and 1 for a win.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ractd_jax.errors import ConfigError
from ractd_jax.tasks.smax import KIND_PROBABILITIES, KINDS


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Without JaxMARL's prints, whose import sets ``sys.stdout`` to its original."""
    kept = sys.stdout, sys.__stdout__
    sys.stdout = sys.__stdout__ = io.StringIO()
    try:
        yield
    finally:
        sys.stdout, sys.__stdout__ = kept


try:
    with _silence():
        from jaxmarl.environments.smax.heuristic_enemy_smax_env import (
            HeuristicEnemySMAX,
        )
        from jaxmarl.environments.smax.smax_env import SMAX, Scenario
except ImportError as error:
    raise ConfigError(
        "environment.id: expected JaxMARL (pip install ractd_jax[smax]) for a battle, "
        f"found {type(error).__name__}: {error}"
    ) from None

# A win pays 1 beside the last enemy's health.
_WON = 1.0


class Scene(NamedTuple):
    """What the n agents of a team see in one step.

    Attributes:
      observations: [n, O].
      world: [W] all that is true, for a critic of the training.
      available: [n, A] bool, actions that can be taken.
    """

    observations: jax.Array
    world: jax.Array
    available: jax.Array


class _Teams:
    """Draws the kinds of both teams, which are the same."""

    def __init__(self, teams: str, size: int):
        self._teams, self._size = teams, size
        self._logits = jnp.log(jnp.array(KIND_PROBABILITIES))

    def generate(self, key: jax.Array) -> jax.Array:
        """[2 n] uint8, the kinds of the allies and the same of the enemies."""
        if self._teams == "one_kind":
            kinds = jnp.full(self._size, jax.random.randint(key, (), 0, len(KINDS)))
        elif self._teams == "any_kinds":
            kinds = self._draw(key)
        else:
            kinds = jax.lax.while_loop(
                lambda state: (state[1] == state[1][0]).all(),
                self._draw_again,
                self._draw_again((key, None)),
            )[1]
        return jnp.concatenate([kinds, kinds]).astype(jnp.uint8)

    def _draw(self, key):
        return jax.random.categorical(key, self._logits, shape=(self._size,))

    def _draw_again(self, state):
        key, draw_key = jax.random.split(state[0])
        return key, self._draw(draw_key)


class Battle:
    """A battle of n against n units; all methods are pure and can be mapped.

    Args:
      size: n.
      teams: how kinds are drawn, one of :data:`ractd_jax.tasks.smax.TEAMS`.
    """

    def __init__(self, size: int, teams: str):
        with _silence():
            every = SMAX()
            places = jnp.array([every.unit_type_names.index(kind) for kind in KINDS])
            facts = ("velocities", "attacks", "attack_ranges", "sight_ranges",
                     "radiuses", "health", "weapon_cooldowns")  # fmt: skip
            units = jnp.zeros((2 * size,), jnp.uint8)
            self._env = HeuristicEnemySMAX(
                scenario=Scenario(units, size, size, True, True),
                unit_type_names=KINDS,
                unit_type_shorthands=tuple(kind[0] for kind in KINDS),
                **{
                    f"unit_type_{fact}": getattr(every, f"unit_type_{fact}")[places]
                    for fact in facts
                },
            )
        # Before the first call, as its methods are compiled with what is here then.
        self._env._env.unit_type_generator = _Teams(teams, size)
        self.num_agents = size
        self.num_actions = self._env.num_ally_actions
        self.observation_size = self._env.obs_size
        self.num_steps = self._env.max_steps

    def reset(self, key: jax.Array) -> tuple[Scene, Any]:
        """(scene, state) of a new battle."""
        observations, state = self._env.reset(key)
        state = _strongly_typed(state)
        return self._scene(observations, state), state

    def step(
        self, key: jax.Array, state: Any, actions: jax.Array
    ) -> tuple[Scene, Any, jax.Array, jax.Array]:
        """(scene, state, reward, whether it is over); the last after 100 steps."""
        agents = self._env.agents
        actions = dict(zip(agents, actions, strict=True))
        observations, state, rewards, over, _ = self._env.step_env(key, state, actions)
        state = _strongly_typed(state)
        scene = self._scene(observations, state)
        return scene, state, rewards[agents[0]], over["__all__"]

    def won(self, reward: jax.Array, over: jax.Array) -> jax.Array:
        """Whether a step won the battle; nobody wins if the last ones die at once."""
        return over & (reward >= _WON)

    def kinds(self, state: Any) -> jax.Array:
        """[2 n] index in :data:`KINDS` of the allies and the enemies."""
        return state.state.unit_types

    def alive(self, state: Any) -> jax.Array:
        """[n] bool, of the allies."""
        return state.state.unit_alive[: self.num_agents]

    def _scene(self, observations, state) -> Scene:
        agents, battle = self._env.agents, state.state
        mask = self._env.get_avail_actions(state)
        sizes = jnp.array([self._env.map_width, self._env.map_height])
        world = [
            battle.unit_health / self._env.unit_type_health[battle.unit_types],
            (battle.unit_positions / sizes).ravel(),
            battle.unit_weapon_cooldowns,
            jax.nn.one_hot(battle.unit_types, len(KINDS)).ravel(),
            battle.unit_alive * 1.0,
            battle.step[None] / self.num_steps,
        ]
        return Scene(
            jnp.stack([observations[agent] for agent in agents]),
            jnp.concatenate(world),
            jnp.stack([mask[agent] for agent in agents]) > 0,
        )


def _strongly_typed(state: Any) -> Any:
    """`state` without weak types, of which a loop would be compiled once more."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.asarray(x).dtype), state)
