"""A planner, its file, and the policy that the file becomes."""

import jax
import numpy as np
import pytest

import ractd_jax
from ractd_jax import methods
from ractd_jax.dimensions import Dimensions
from ractd_jax.normalizers import MinMaxNormalizer
from ractd_jax.planning import Planner
from ractd_jax.planning.export import export_planner
from ractd_jax.settings import Environment, Network, Plan, Settings

MLP = {"kind": "mlp", "mlp_width": 16}


def make_planner(stage="student", num_steps=1, history=1, **network) -> Planner:
    """A tiny planner with random weights, of Hopper's sizes; one action never moved.

    An MLP, which compiles faster, or a U-Net with the options of `network`.
    """
    unet = {"widths": (8,), **network}
    settings = Settings(
        environment=Environment(id="Hopper-v5"),
        plan=Plan(horizon=8, history=history),
        network=Network(embed_dim=8, num_groups=4, **(unet if network else MLP)),
    )
    dims = Dimensions(observation=11, action=3, horizon=8, history=history)
    method = methods.PLAN_METHODS[stage].from_settings(settings, dims)
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: rng.uniform(-0.5, 0.5, leaf.shape).astype(np.float32), shapes
    )
    ranges = [
        MinMaxNormalizer(
            rng.uniform(-2, -1, size).astype(np.float32),
            rng.uniform(1, 2, size).astype(np.float32),
        )
        for size in (11, 3)
    ]
    ranges[1].high[2] = ranges[1].low[2]
    return Planner(settings, dims, stage, params, *ranges, num_steps)


@pytest.fixture(scope="module")
def planner():
    return make_planner()


@pytest.fixture(scope="module")
def file(planner, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "policy.zip"
    export_planner(planner, path, {"weights": "ema"})
    return path


@pytest.fixture(scope="module")
def loaded(file):
    return ractd_jax.load_policy(file)
