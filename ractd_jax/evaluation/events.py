"""When the named events of episodes happened, such as the kitchen's subtasks."""

from __future__ import annotations

import numpy as np

from ractd_jax.evaluation.workers import Outcome
from ractd_jax.settings import Environment
from ractd_jax.tasks import task_of


class Events:
    """Collects the steps at which the events of a family happened first.

    Attributes:
      names: [K] strings; none where the family has no events.
      steps: [E, K] int64, as of :class:`EpisodeResults`; [0, 0] without events.
    """

    def __init__(self, environment: Environment, num_episodes: int):
        names = task_of(environment.id).events(environment)
        self.names = np.array(names, "U") if names else np.zeros(0, "U1")
        shape = (num_episodes, len(names)) if names else (0, 0)
        self.steps = np.full(shape, -1, np.int64)

    def add(self, episodes: np.ndarray, outcome: Outcome, step: int) -> None:
        """Keeps those of an outcome, whose rows are `episodes`."""
        if len(self.names):
            known = self.steps[episodes]
            new = outcome.happened & (known < 0)
            self.steps[episodes] = np.where(new, step, known)
