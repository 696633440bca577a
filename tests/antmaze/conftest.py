"""D4RL's ant mazes, and a policy that walks nowhere."""

import numpy as np
import pytest

from ractd_jax.recording.behaviour import BehaviourPolicy
from ractd_jax.settings import Environment
from ractd_jax.tasks.ant_maze import ANT_MAZES
from ractd_jax.tasks.environments import make_environment

# D4RL's maps: R is the start, G the goal's cell.
D4RL_MAPS = {
    "umaze": "#####/#R..#/###.#/#G..#/#####",
    "medium": "########/#R.##..#/#..#...#/##...###/#..#...#/#.#..#.#/#...#.G#/########",
    "large": "############/#R...#.....#/#.##.#.#.#.#/#......#...#/#.####.###.#/"
    "#..#.#.....#/##.#.#.#.###/#..#...#.G.#/############",
}  # fmt: skip


@pytest.fixture(scope="session")
def env():
    pytest.importorskip("gymnasium_robotics")
    env = make_environment(Environment(ANT_MAZES["umaze"]))
    yield env
    env.close()


@pytest.fixture(scope="session")
def still() -> BehaviourPolicy:
    """No torques, whatever it sees."""
    return BehaviourPolicy(
        weights=(np.zeros((29, 4), np.float32), np.zeros((4, 16), np.float32)),
        biases=(np.zeros(4, np.float32), np.zeros(16, np.float32)),
        action_low=-np.ones(8, np.float32),
        action_high=np.ones(8, np.float32),
    )
