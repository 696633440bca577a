"""One episode of a Minari dataset as arrays, and what its flags mean.

The episodes are the container's: each ends with its last step, whatever the flags
before it say. The last of `terminations` makes it a terminal; else it is a timeout,
also where the recorder cut it off and set no flag. Flags before the last step are left
out with a warning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from absl import logging

from ractd_jax.data.episodes import continuous_actions
from ractd_jax.errors import DataError
from ractd_jax.tasks import Task
from ractd_jax.tasks.flatten import desired_goals, flatten_observations

_FLAGS = ("terminations", "truncations")
_LISTED = 5


def episode_arrays(episode, rule: str, task: Task, source: str) -> dict:
    """The flat fields of an episode of T > 0 steps; ``goals`` only where it has some.

    Args:
      episode: of Minari.
      rule: for Dict observations, see :mod:`ractd_jax.tasks.flatten`.
      task: encodes the actions.
      source: the dataset and the episode, named in errors.

    Raises:
      DataError: the observations cannot be flattened, the actions are not continuous,
        or a field has another number of steps.
    """
    length = len(episode.rewards)
    try:
        observations = flatten_observations(episode.observations, rule)
        goals = desired_goals(episode.observations)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            source,
            field="observations",
            expected=f"numbers that the rule {rule!r} can flatten "
            "(config.environment.flatten)",
            found=error,
        ) from None
    actions = continuous_actions(task.encode_actions(episode.actions), source)
    terminals, timeouts = np.zeros((2, length), bool)
    terminals[-1] = _flags(episode, "terminations", source)[-1]
    timeouts[-1] = not terminals[-1]
    fields = {
        "observations": observations,
        "actions": actions.reshape(len(actions), -1),
        "rewards": np.asarray(episode.rewards),
        "goals": goals,
    }
    fields = {
        name: _first_steps(array, length, name, source)
        for name, array in fields.items()
        if array is not None
    }
    return {**fields, "terminals": terminals, "timeouts": timeouts}


def has_early_flags(episode, source: str) -> bool:
    """Whether a flag is set before the last step."""
    return any(_flags(episode, name, source)[:-1].any() for name in _FLAGS)


def warn_of(empty: Sequence[int], early: Sequence[int], source: str) -> None:
    """Logs which episodes have no steps, or flags before their last step."""
    if empty:
        logging.warning("%s: no steps in %s: left out", source, _named(empty))
    if early:
        logging.warning(
            "%s: terminations or truncations before the last step in %s: the dataset's "
            "own episodes are kept, and only the flags of their last steps count",
            source,
            _named(early),
        )


def _named(episodes: Sequence[int]) -> str:
    """Such as ``episode 3``, or ``12 episodes (0, 1, 2, 3, 4, ...)``."""
    if len(episodes) == 1:
        return f"episode {episodes[0]}"
    more = ", ..." if len(episodes) > _LISTED else ""
    numbers = ", ".join(map(str, episodes[:_LISTED]))
    return f"{len(episodes)} episodes ({numbers}{more})"


def _flags(episode, name: str, source: str) -> np.ndarray:
    flags = np.asarray(getattr(episode, name), bool).reshape(-1)
    if len(flags) != len(episode.rewards):
        raise _wrong_length(len(episode.rewards), len(flags), name, source)
    return flags


def _first_steps(array: np.ndarray, length: int, name: str, source: str) -> np.ndarray:
    """The first `length` rows; observations have one more, after the last step."""
    if len(array) < length or (name in ("actions", "rewards") and len(array) > length):
        raise _wrong_length(length, len(array), name, source)
    return array[:length]


def _wrong_length(expected: int, found: int, name: str, source: str) -> DataError:
    return DataError(
        source,
        field=name,
        expected=f"{expected} steps, as rewards have",
        found=found,
    )
