"""The environment of the behaviour policies' tests."""

import gymnasium
import pytest

from ractd_jax.recording import behaviour
from ractd_jax.recording.behaviour import PolicySnapshots
from ractd_jax.recording.rollouts import record_mixture

SEED = 40


@pytest.fixture(scope="module")
def hopper() -> PolicySnapshots:
    return behaviour.load_packaged_snapshots("hopper")


@pytest.fixture(scope="module")
def env():
    env = gymnasium.make("Hopper-v5")
    yield env
    env.close()


@pytest.fixture(scope="module")
def parts(hopper):
    """The two most clumsy snapshots, whose episodes are short."""
    first, second, *_ = hopper.policies.values()
    return [(first, 50), (second, 150)]


@pytest.fixture(scope="module")
def recorded(parts):
    """`parts` recorded by one worker."""
    return list(record_mixture("Hopper-v5", parts, SEED, num_workers=1))
