"""Balls in pictures of MuJoCo, where a plan leads."""

from __future__ import annotations

import numpy as np

_SPHERE = 2  # mujoco.mjtGeom.mjGEOM_SPHERE


def add_markers(simulation, positions: np.ndarray, radius: float, height: float):
    """Draws balls at `positions` [H, 2] into the next frame of a Gymnasium simulation.

    From magenta to orange; MuJoCo's viewer forgets them with every frame.

    Args:
      simulation: a Gymnasium ``MujocoEnv``.
      positions: in metres.
      radius: of a ball, in metres.
      height: of its centre, in metres.
    """
    viewer = simulation.mujoco_renderer._get_viewer("rgb_array")
    for share, place in zip(
        np.linspace(0.0, 1.0, len(positions)), positions, strict=True
    ):
        viewer.add_marker(
            type=_SPHERE,
            size=np.full(3, radius),
            pos=np.array([*place, height]),
            rgba=np.array([1.0, 0.4 * share, 1.0 - share, 0.8]),
            label="",
        )
