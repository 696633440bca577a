"""A small file in the layout of D4RL's kitchen-complete, and D4RL's own."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from ractd_jax.settings import Environment
from ractd_jax.tasks.environments import make_environment

OFFICIAL = Path(__file__).parents[3] / "shared/data/kitchen-complete-v0.hdf5"
NUM_DEMONSTRATIONS, STEPS = 3, 60
# Steps at which the toy file says that a subtask is done.
DONE = (9, 19, 29, 39)


@pytest.fixture(scope="session")
def env():
    pytest.importorskip("gymnasium_robotics")
    env = make_environment(Environment("ractd/Kitchen-Goal-v0"))
    yield env
    env.close()


@pytest.fixture(scope="session")
def demonstration_file(env, tmp_path_factory) -> Path:
    """Slow random motions, whose rewards claim that they do the four subtasks."""
    rng = np.random.default_rng(0)
    rows = {"observations": [], "actions": [], "rewards": [], "terminals": []}
    for seed in range(NUM_DEMONSTRATIONS):
        observation, _ = env.reset(seed=seed)
        for step in range(STEPS):
            action = rng.uniform(-0.2, 0.2, 9)
            rows["observations"].append(observation)
            rows["actions"].append(action)
            rows["rewards"].append(sum(step >= done for done in DONE))
            rows["terminals"].append(step == STEPS - 1)
            observation, *_ = env.step(action)
    path = tmp_path_factory.mktemp("demonstrations") / "mini_kitchen-toy-v0.hdf5"
    with h5py.File(path, "w") as file:
        for name, values in rows.items():
            kind = bool if name == "terminals" else np.float32
            file[name] = np.array(values, kind)
        file["timeouts"] = np.zeros(len(rows["rewards"]), bool)
    return path
