"""What is true of an environment family, in one object."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ractd_jax.settings import Environment

if TYPE_CHECKING:
    import gymnasium

    from ractd_jax.tasks.maze_map import MazeMap

# plans [P, H, O] in environment units -> [P] bool
BlockedFn = Callable[[np.ndarray], np.ndarray]


class Reference(NamedTuple):
    """The true returns that scores are relative to.

    Attributes:
      low: scores 0.
      high: scores 100.
      source: where the two come from, in words.
      replaces: whether it holds whatever the data's environment paid.
    """

    low: float
    high: float
    source: str
    replaces: bool = False


# Returns of D4RL's random and expert policies (Fu et al. 2020).
D4RL_RETURNS = {
    "hopper": (-20.272305, 3234.3),
    "halfcheetah": (-280.178953, 12135.0),
    "walker2d": (1.629008, 4592.3),
    "maze2d-umaze": (23.85, 161.86),
    "maze2d-medium": (13.13, 277.39),
    "maze2d-large": (6.7, 273.99),
    "kitchen": (0.0, 4.0),
    "antmaze": (0.0, 1.0),
}


def d4rl_reference(name: str, replaces: bool = False) -> Reference:
    """D4RL's reference returns of a key of :data:`D4RL_RETURNS`."""
    source = f"D4RL's reference returns of {name}"
    return Reference(*D4RL_RETURNS[name], source, replaces)


def id_name(environment_id: str) -> str:
    """``Hopper`` of ``Hopper-v5``, ``Maze2d-UMaze`` of ``ractd/Maze2d-UMaze-v0``."""
    return environment_id.split("/")[-1].rpartition("-v")[0]


class Task:
    """An environment family; this one's rules hold where no other family is known.

    A family overrides what is otherwise with it, and is registered by
    :func:`ractd_jax.tasks.register`. The functions of arrays take numpy and JAX arrays
    alike, with any leading axes, in environment units.

    States are vectors [..., O]. A goal [..., G] names a part of a state, its first G
    components; the rest of a state that has arrived is zero, as it is at rest.

    Attributes:
      name: stored with a trained model, which finds its rules by it.
      pattern: regular expression of the Gymnasium ids that belong to the family.
      num_places: leading components of a state that say where in the world it is; how
        actions move it does not depend on them.
      num_elements: E, slots of a scene whose kinds :meth:`elements` reads; 0 for none.
      num_kinds: K, kinds that a slot may have, "not there" among them.
    """

    name = ""
    pattern = r"(?!)"
    num_places = 0
    num_elements = 0
    num_kinds = 0

    def owns(self, environment_id: str) -> bool:
        """Whether the environment of this Gymnasium id belongs to the family."""
        return re.fullmatch(self.pattern, environment_id) is not None

    def register_ids(self) -> None:
        """Makes ids of the family known to Gymnasium that importing it does not."""

    def make(self, environment: Environment) -> gymnasium.Env:
        """One environment, of vectors as observations and as actions.

        Raises:
          ConfigError: it cannot be made.
        """
        # Planning needs no Gymnasium, and reads this file.
        from ractd_jax.tasks.environments import make_registered

        return make_registered(environment)

    def reference(self, environment_id: str) -> Reference | None:
        """The returns that score 0 and 100, where they are known."""
        return None

    def split(self, observations, goal_size: int):
        """(states [..., O], goals [..., G]) of what an environment shows."""
        size = observations.shape[-1] - goal_size
        return observations[..., :size], observations[..., size:]

    def goal_of(self, states, goal_size: int):
        """[..., G] the goals that `states` [..., O] have reached."""
        return states[..., :goal_size]

    def goal_state(self, goals, state_size: int):
        """[..., O] states at rest in `goals` [..., G]."""
        pad = [(0, 0)] * (goals.ndim - 1) + [(0, state_size - goals.shape[-1])]
        return jnp.pad(goals, pad)

    def arrive(self, states, arrived, goal_size: int):
        """`states` [..., O], at rest where `arrived` [...] says that they arrived."""
        named = np.arange(states.shape[-1]) < goal_size
        return states * (named | ~arrived[..., None])

    def position(self, states):
        """[..., 2] where `states` are, for controllers that steer in the plane."""
        return states[..., :2]

    def elements(self, states):
        """[..., E] float32 the kinds 0 .. K - 1 of what `states` [..., O] show."""
        raise NotImplementedError

    def velocity(self, states):
        """[..., 2] how fast `states` move along the axes of :meth:`position`."""
        return states[..., 2:4]

    def maze(self, environment_id: str) -> MazeMap | None:
        """The walls that :meth:`position` moves between; None for other environments.

        Raises:
          ConfigError: what knows the walls is not installed.
        """
        return None

    def blocked(self, environment_id: str) -> BlockedFn | None:
        """Says of plans of states whether something is in the way; None if unknown."""
        maze = self.maze(environment_id)
        if maze is None:
            return None
        from ractd_jax.tasks.maze_map import crosses_wall

        return functools.partial(crosses_wall, maze)

    def mark(self, env: gymnasium.Env, positions: np.ndarray) -> None:
        """Draws planned positions [H, 2] into the next frame that `env` renders."""

    def show(
        self, env: gymnasium.Env, observation: np.ndarray, place: float
    ) -> float | None:
        """Puts the simulation of `env` where an `observation` [O] has it.

        Args:
          env: after a reset.
          observation: of the environment, in its units.
          place: what observations leave out: how far along its track a runner is.

        Returns:
          The place of the next step; None of a family whose observations are not enough
          to tell the state, which leaves `env` as it is.
        """
        return None

    def success(self, returns: np.ndarray) -> np.ndarray:
        """[E] bool, which episodes reached their goal, by their returns [E]."""
        return returns > 0

    def events(self, environment: Environment) -> tuple[str, ...]:
        """Names of what may happen in an episode, such as subtasks; empty for none."""
        return ()

    def happened(self, info: Mapping[str, Any]) -> Collection[str]:
        """Which of :meth:`events` have happened by a step, by the `info` it gave."""
        return ()

    def encode_actions(self, actions: np.ndarray) -> np.ndarray:
        """[T, ...] numbers that planners learn, from the actions [T, ...] of the data.

        A family whose actions are no vectors of numbers encodes them here, such as
        discrete ones as one-hot vectors, and decodes them in the environment that
        :meth:`make` gives, by a wrapper.
        """
        return actions
