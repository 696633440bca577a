"""MuJoCo's runners: Hopper, Walker2d and HalfCheetah."""

from __future__ import annotations

import numpy as np

from ractd_jax.tasks.base import Reference, Task, d4rl_reference, id_name


class Locomotion(Task):
    """Rewarded at every step for running; the observation is the state."""

    name = "locomotion"
    pattern = r"(.*/)?(Hopper|Walker2d|HalfCheetah)-v\d+"

    def reference(self, environment_id: str) -> Reference:
        return d4rl_reference(id_name(environment_id).lower())

    def show(self, env, observation, place):
        simulation = env.unwrapped
        size = simulation.model.nq - 1  # All coordinates but the one along the track.
        observation = np.asarray(observation, np.float64)
        velocity = observation[size:]
        simulation.set_state(np.append(place, observation[:size]), velocity)
        return place + float(velocity[0]) * simulation.dt
