"""An ant in a maze: gymnasium-robotics' AntMaze, and D4RL's protocol in it."""

from __future__ import annotations

from ractd_jax.tasks.base import Task

# The ant that is told where to walk, on a plane: ractd_jax.tasks.d4rl_ant.
DIRECTION = "ractd/AntDirection-v0"


class AntDirection(Task):
    """Rewarded at every step for walking in the direction that is shown."""

    name = "ant_direction"
    pattern = r"ractd/AntDirection-v0"

    def register_ids(self) -> None:
        from ractd_jax.tasks.d4rl_ant import register_direction

        register_direction()
