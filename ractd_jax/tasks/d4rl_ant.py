"""D4RL's ant: Gymnasium's, with a fifth of its strength and half of its rate.

An ant maze needs a policy that walks where it is told to. The environment that teaches
it is OGBench's (Park et al. 2024): reward for the way along a direction that is shown.
"""

from __future__ import annotations

import os
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.mujoco import ant_v5
from gymnasium.spaces import Box

from ractd_jax.tasks.ant_maze import DIRECTION, STATE_SIZE

GEAR = 30.0  # N m, of an action of 1
TIMESTEP = 0.02  # s, of the simulation
FRAME_SKIP = 5  # simulated steps of an action: 10 Hz
_TIME_LIMIT = 1000
_STEPS_PER_DIRECTION = 100


def register_direction() -> None:
    """Makes :data:`DIRECTION` known to Gymnasium; once is enough."""
    if DIRECTION not in gymnasium.registry:
        gymnasium.register(
            DIRECTION,
            entry_point=f"{__name__}:DirectionEnv",
            max_episode_steps=_TIME_LIMIT,
        )


def make_ant(
    render_mode: str | None = None,
    walls: Iterable[Sequence[float]] = (),
    **options: Any,
) -> ant_v5.AntEnv:
    """D4RL's ant, made from Gymnasium's; its observation is the whole state [29].

    Args:
      render_mode: of Gymnasium's ant.
      walls: (x, y) of the centre and (half of the width along x, along y, along the
        height) of boxes on the plane, in metres.
      options: more of Gymnasium's ant.
    """
    tree = ElementTree.parse(Path(ant_v5.__file__).parent / "assets" / "ant.xml")
    tree.find("option").set("timestep", str(TIMESTEP))
    for motor in tree.iter("motor"):
        motor.set("gear", str(GEAR))
    for x, y, *half in walls:
        box = {
            "type": "box",
            "pos": f"{x} {y} {half[2]}",
            "size": " ".join(map(str, half)),
            # The ant's parts touch what they have an affinity to.
            "conaffinity": "1",
            "rgba": "0.7 0.5 0.3 1.0",
        }
        ElementTree.SubElement(tree.find("worldbody"), "geom", box)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ant.xml"
        tree.write(path)
        return ant_v5.AntEnv(
            xml_file=os.fspath(path),
            frame_skip=FRAME_SKIP,
            exclude_current_positions_from_observation=False,
            include_cfrc_ext_in_observation=False,
            render_mode=render_mode,
            **options,
        )


def direction_input(states: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """[..., 29] what the walking policy sees: all but x and y, and a direction.

    Args:
      states: [..., 29] positions and velocities, x and y first.
      directions: [..., 2] unit vectors.
    """
    return np.concatenate([states[..., 2:], directions], axis=-1)


class DirectionEnv(gymnasium.Env):
    """An ant on a plane, paid for its speed along a direction.

    Observations [29] float64: the body without x and y, and a unit vector, which is
    drawn again every 100 steps. The reward is the speed along it over the step, in m/s.
    An episode terminates when the torso's height leaves 0.2..1 m.

    Args:
      render_mode: ``rgb_array``, or None for no pictures.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode: str | None = None):
        self.render_mode = render_mode
        self.ant = make_ant(render_mode)
        self.action_space = self.ant.action_space
        self.observation_space = Box(-np.inf, np.inf, (STATE_SIZE,), np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Gymnasium's start of the ant, and a random direction."""
        super().reset(seed=seed)
        self._state, _ = self.ant.reset(seed=seed)
        self._steps = 0
        self._direction = self._draw_direction()
        return direction_input(self._state, self._direction), {}

    def step(
        self, action: np.ndarray
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Moves for 0.1 s."""
        before = self._state[:2]
        self._state, _, terminated, _, _ = self.ant.step(action)
        speed = (self._state[:2] - before) / self.ant.dt
        reward = float(speed @ self._direction)
        self._steps += 1
        if self._steps % _STEPS_PER_DIRECTION == 0:
            self._direction = self._draw_direction()
        observation = direction_input(self._state, self._direction)
        return observation, reward, terminated, False, {}

    def render(self) -> np.ndarray | None:
        return self.ant.render()

    def close(self) -> None:
        self.ant.close()

    def _draw_direction(self) -> np.ndarray:
        angle = self.np_random.uniform(-np.pi, np.pi)
        return np.array([np.cos(angle), np.sin(angle)])
