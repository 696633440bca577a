"""What the tests of plans of states share."""

import math

import jax
import numpy as np

from ractd_jax import models
from ractd_jax.models import Dimensions

HORIZON = 8


def state_dimensions(conditioning="film"):
    return Dimensions(4, 2, HORIZON, 1, goal=2, conditioning=conditioning)


def random_params(unet, dims, role, seed=0):
    """Numpy normals of the right shapes: jax.random would compile for each of them."""
    template = jax.eval_shape(
        lambda: models.init_network(unet, dims, jax.random.key(0), role)
    )
    rng = np.random.default_rng(seed)

    def draw(leaf):
        scale = math.prod(leaf.shape[:-1]) ** -0.5
        return rng.normal(0.0, scale, leaf.shape).astype(leaf.dtype)

    return jax.tree.map(draw, template)


def ends_of(plans) -> np.ndarray:
    return np.asarray(plans)[:, [0, -1]].reshape(len(plans), -1)
