"""MuJoCo's runners: Hopper, Walker2d and HalfCheetah."""

from __future__ import annotations

from ractd_jax.tasks.base import Reference, Task, d4rl_reference, id_name


class Locomotion(Task):
    """Rewarded at every step for running; the observation is the state."""

    name = "locomotion"
    pattern = r"(.*/)?(Hopper|Walker2d|HalfCheetah)-v\d+"

    def reference(self, environment_id: str) -> Reference:
        return d4rl_reference(id_name(environment_id).lower())
