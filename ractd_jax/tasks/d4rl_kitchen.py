"""D4RL's kitchen protocol with gymnasium-robotics' FrankaKitchen-v1.

The robot is D4RL's: actions are the velocities of nine joints as shares of 2 rad/s, and
an action moves a joint from where it is *seen* to be. Not D4RL's are the noise of what
is seen (a tenth of D4RL's for the robot, less for the objects) and the simulator's
version; scores are of the same scale, and not comparable to the last point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from ractd_jax.errors import ConfigError
from ractd_jax.tasks.kitchen import KITCHENS

TIME_LIMIT = 280
# Joint positions of the robot and of the objects in FrankaKitchen-v1's observation,
# which has their velocities in between.
NUM_JOINTS, NUM_OBJECTS = 9, 21
_OBJECTS = slice(2 * NUM_JOINTS, 2 * NUM_JOINTS + NUM_OBJECTS)
OBSERVATION_SIZE = NUM_JOINTS + NUM_OBJECTS
# An action of 1 for one step moves a joint's target by so much.
MAX_SPEED = 2.0  # rad/s
STEP_SECONDS = 0.08


def register_kitchens() -> None:
    """Makes the ids of :data:`KITCHENS` known to Gymnasium; once is enough."""
    for environment_id, (subtasks, observe_goal) in KITCHENS.items():
        if environment_id not in gymnasium.registry:
            gymnasium.register(
                environment_id,
                entry_point=f"{__name__}:Kitchen",
                # Lists, as JSON has no tuples: a recorded spec must compare as equal.
                kwargs={"subtasks": list(subtasks), "observe_goal": observe_goal},
                max_episode_steps=TIME_LIMIT,
            )


class Kitchen(gymnasium.Env):
    """FrankaKitchen-v1 that shows D4RL's numbers.

    Observations [30] float64: 9 joint positions of the robot with noise (7 in rad, the
    2 fingers in m), 21 positions of the objects; with `observe_goal` [60], the goal's
    positions behind them, as in D4RL's files. Actions [9] in [-1, 1]. A step pays 1 for
    each subtask that it completes, once an episode; the episode terminates when all are
    done. ``info["episode_task_completions"]`` names them in their order.

    Args:
      subtasks: names of gymnasium-robotics' goals.
      observe_goal: whether the constant goal is part of the observation.
      render_mode: ``rgb_array``, or None for no pictures.

    Raises:
      ConfigError: gymnasium-robotics is not installed.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 12}

    def __init__(
        self,
        subtasks: Sequence[str],
        observe_goal: bool = False,
        render_mode: str | None = None,
    ):
        try:
            import gymnasium_robotics
        except ImportError:
            raise ConfigError(
                "config.environment.id: the kitchen needs gymnasium-robotics: "
                "pip install 'ractd_jax[kitchen]'"
            ) from None
        gymnasium.register_envs(gymnasium_robotics)
        self.render_mode = render_mode
        # Itself, not inside the wrappers of its id: the time limit is this class's.
        self._kitchen = gymnasium.make(
            "FrankaKitchen-v1",
            tasks_to_complete=list(subtasks),
            disable_env_checker=True,
            render_mode=render_mode,
        ).unwrapped
        self._goal = _goal_positions(self._kitchen.goal) if observe_goal else []
        size = OBSERVATION_SIZE + len(self._goal)
        self.action_space = self._kitchen.action_space
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """The one start that there is; the seed is that of the noise."""
        super().reset(seed=seed)
        observation, info = self._kitchen.reset(seed=seed)
        return self._flat(observation), info

    def step(
        self, action: np.ndarray
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Moves for 0.08 s."""
        observation, reward, terminated, _, info = self._kitchen.step(action)
        done = list(info["episode_task_completions"])
        info = info | {"episode_task_completions": done}
        return self._flat(observation), reward, terminated, False, info

    def render(self) -> np.ndarray | None:
        return self._kitchen.render()

    def close(self) -> None:
        self._kitchen.close()

    def _flat(self, observation: dict[str, Any]) -> np.ndarray:
        numbers = observation["observation"]
        return np.concatenate([numbers[:NUM_JOINTS], numbers[_OBJECTS], self._goal])


def _goal_positions(goal: dict[str, np.ndarray]) -> np.ndarray:
    """[30] the goal as D4RL's files have it: zero where nothing is asked."""
    from gymnasium_robotics.envs.franka_kitchen.kitchen_env import OBS_ELEMENT_INDICES

    positions = np.zeros(OBSERVATION_SIZE)
    for name, values in goal.items():
        positions[OBS_ELEMENT_INDICES[name]] = values
    return positions
