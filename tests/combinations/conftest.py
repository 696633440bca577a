"""Networks and models of plans through waypoints."""

import dataclasses

import pytest

from ractd_jax import methods
from ractd_jax.settings import Network
from ractd_jax.tasks.maze_map import MazeMap
from tests.state_plans.conftest import dataset
from tests.toys import random_params, state_dimensions

__all__ = ["dataset"]  # a fixture

WAYPOINTS = 3


def waypoint_dimensions(conditioning="both"):
    dims = state_dimensions(conditioning)
    return dataclasses.replace(dims, elements=WAYPOINTS, element_size=2)


def waypoint_network(how: str, stage: str = "teacher", **options):
    """(U-Net that reads elements by `how`, random weights)."""
    options = {"widths": (8, 16), "embed_dim": 8, "element_octaves": 2} | options
    dims = waypoint_dimensions()
    unet = methods.make_network(Network(elements=how, **options), dims)
    return unet, random_params(unet, dims, stage)


@pytest.fixture(scope="session")
def medium() -> MazeMap:
    pytest.importorskip("gymnasium_robotics")
    from ractd_jax.tasks.maze_map import maze_map

    return maze_map("medium")
