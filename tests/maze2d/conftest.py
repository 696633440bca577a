"""D4RL's maps, and an environment of each."""

import numpy as np
import pytest
from hypothesis import strategies as st

from ractd_jax.settings import Environment
from ractd_jax.tasks.environments import make_environment
from ractd_jax.tasks.maze_map import maze_map
from ractd_jax.tasks.point_maze import MAZE2D, MAZES

D4RL_MAPS = {
    "umaze": "#####/#GOO#/###O#/#OOO#/#####",
    "medium": (
        "########/#OO##OO#/#OO#OOO#/##OOO###/#OO#OOO#/#O#OO#O#/#OOO#OG#/########"
    ),
    "large": (
        "############/#OOOO#OOOOO#/#O##O#O#O#O#/#OOOOOO#OOO#/#O####O###O#/"
        "#OO#O#OOOOO#/##O#O#O#O###/#OO#OOO#OGO#/############"
    ),
}


@pytest.fixture(scope="module", params=MAZES)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def env(name):
    env = make_environment(Environment(MAZE2D[name]))
    yield env
    env.close()


def d4rl_goal(name: str) -> np.ndarray:
    """[2] centre of the cell that D4RL's map marks with G."""
    cells = np.array([list(row) for row in D4RL_MAPS[name].split("/")])
    return maze_map(name).cell_to_xy(np.argwhere(cells == "G")[0])


finite = st.floats(-8, 8)
