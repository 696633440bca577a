"""Discrete actions as one-hot vectors of -1 and 1, for plans of numbers."""

from __future__ import annotations

import gymnasium
import numpy as np


def one_hot(actions: np.ndarray, number: int) -> np.ndarray:
    """[..., number] float32 of actions [...], or [T, 1], in 0 .. number - 1."""
    actions = np.asarray(actions, int)
    if actions.ndim > 1 and actions.shape[-1] == 1:
        actions = actions[..., 0]
    return 2.0 * np.eye(number, dtype=np.float32)[actions] - 1.0


class OneHotActions(gymnasium.ActionWrapper):
    """Takes a number for each action, and does the one with the largest.

    The largest of those that can be taken, where the environment says which by a method
    ``action_masks``.
    """

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        self._number = int(env.action_space.n)
        self._masks = getattr(env.unwrapped, "action_masks", None)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self._number,), np.float32)

    def action(self, action: np.ndarray) -> int:
        """The index of the largest of `action` [number]."""
        if self._masks is not None:
            action = np.where(self._masks(), action, -np.inf)
        return int(np.argmax(action))
