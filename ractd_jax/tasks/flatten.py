"""Observations and actions as vectors: one rule for the data and the environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np

# The keys of the rules that name them; goals of AntMaze say where the ant is.
_KEYS = {
    "observation": ("observation",),
    "maze": ("achieved_goal", "observation"),
    "maze_goal": ("achieved_goal", "observation", "desired_goal"),
}
RULES = ("auto", "all", *_KEYS)


def flatten_observations(observations: Any, rule: str) -> np.ndarray:
    """[T, O] from T observations, as Gymnasium and Minari nest them.

    Arrays are only reshaped. From a Dict, ``auto`` takes ``observation`` and, if it
    exists, ``desired_goal`` (``achieved_goal`` repeats a part of the observation);
    without an ``observation`` it takes every key. ``observation`` takes that key alone,
    ``all`` every key. ``maze`` takes ``achieved_goal`` and ``observation``, in which
    AntMaze leaves x and y out, ``maze_goal`` these two and ``desired_goal``. Nested
    keys come in alphabetical order.

    Args:
      observations: an array [T, ...] or a (nested) dict or tuple of such arrays.
      rule: one of :data:`RULES`.

    Raises:
      KeyError: the rule names a key that is not there.
      TypeError: a leaf is not an array of numbers.
    """
    if isinstance(observations, Mapping):
        observations = [observations[key] for key in _chosen_keys(observations, rule)]
    leaves = [np.asarray(leaf) for leaf in _leaves(observations)]
    for leaf in leaves:
        if leaf.dtype.kind not in "fiub":
            raise TypeError(f"an observation of {leaf.dtype} is not a number")
    flat = [leaf.reshape(len(leaf), -1) for leaf in leaves]
    return flat[0] if len(flat) == 1 else np.concatenate(flat, axis=-1)


def desired_goals(observations: Any) -> np.ndarray | None:
    """[T, G] goals of goal-conditioned Dict observations; None for others."""
    if not isinstance(observations, Mapping) or "desired_goal" not in observations:
        return None
    return flatten_observations(observations["desired_goal"], "all")


def _chosen_keys(observations: Mapping, rule: str) -> list[str]:
    if rule in _KEYS:
        return list(_KEYS[rule])
    if rule == "auto" and "observation" in observations:
        return [k for k in ("observation", "desired_goal") if k in observations]
    return sorted(observations)


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, Mapping):
        for key in sorted(tree):
            yield from _leaves(tree[key])
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from _leaves(item)
    else:
        yield tree


def _batch_of_one(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _batch_of_one(value) for key, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_batch_of_one(value) for value in tree)
    return np.asarray(tree)[None]


class FlattenObservation(gymnasium.ObservationWrapper):
    """An environment whose observations are flat float64 vectors by a rule."""

    def __init__(self, env: gymnasium.Env, rule: str):
        super().__init__(env)
        self._rule = rule
        example = self.observation(env.observation_space.sample())
        self.observation_space = gymnasium.spaces.Box(
            -np.inf, np.inf, example.shape, np.float64
        )

    def observation(self, observation: Any) -> np.ndarray:
        flat = flatten_observations(_batch_of_one(observation), self._rule)[0]
        return flat.astype(np.float64)


class FlattenAction(gymnasium.ActionWrapper):
    """An environment of array actions that takes flat vectors, in C order."""

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        space = env.action_space
        self._shape = space.shape
        self.action_space = gymnasium.spaces.Box(
            space.low.reshape(-1), space.high.reshape(-1), dtype=space.dtype
        )

    def action(self, action: np.ndarray) -> np.ndarray:
        return np.asarray(action).reshape(self._shape)


def flat_spaces(env: gymnasium.Env, rule: str) -> gymnasium.Env:
    """`env` with vectors as observations, by a rule, and as actions.

    Nothing is wrapped that is a vector already. Actions that are no arrays of numbers
    stay: only their family knows what they mean.
    """
    observations, actions = env.observation_space, env.action_space
    if not (
        isinstance(observations, gymnasium.spaces.Box) and len(observations.shape) == 1
    ):
        env = FlattenObservation(env, rule)
    if isinstance(actions, gymnasium.spaces.Box) and len(actions.shape) != 1:
        env = FlattenAction(env)
    return env
