"""Each maze, and its environment."""

import gymnasium
import pytest

from ractd_jax.recording.point_maze import recording_spec
from ractd_jax.tasks.maze_map import MazeMap, maze_map
from ractd_jax.tasks.point_maze import MAZES

SEED, STEPS = 7, 3000


@pytest.fixture(scope="module", params=MAZES)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def maze(name) -> MazeMap:
    return maze_map(name)


@pytest.fixture(scope="module")
def env(name):
    """The whole stack of wrappers, as any user would make it."""
    env = gymnasium.make(recording_spec(name))
    yield env
    env.close()
