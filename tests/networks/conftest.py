"""Inputs and random parameters of small networks; full precision for every test."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.toys import random_like


def shapes(module, *args, **options):
    """The parameters' shapes; nothing is allocated or compiled."""
    init = functools.partial(module.init, **options)
    return jax.eval_shape(init, jax.random.key(0), *args)["params"]


def random_params(module, *args, seed=0, **options):
    """Numpy normals: initialising with jax.random would take seconds to compile."""
    return random_like(shapes(module, *args, **options), seed)


def unet_inputs(config, horizon=8, batch=2, condition_dim=5, stop=False):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(batch, horizon, config.plan_dim)).astype(np.float32)
    cond = rng.normal(size=(batch, condition_dim)).astype(np.float32)
    level = np.linspace(-900.0, 1000.0, batch, dtype=np.float32)
    inputs = (jnp.asarray(x), jnp.asarray(level), jnp.asarray(cond))
    return (*inputs, jnp.asarray(level - 50.0)) if stop else inputs


@pytest.fixture(autouse=True)
def full_precision():
    with jax.default_matmul_precision("highest"):
        yield


@functools.partial(jax.jit, static_argnums=0)
def pullback(function, *args):
    """(value, gradients of its product with fixed weights), in one compilation."""
    value, vjp = jax.vjp(function, *args)
    weights = jnp.cos(jnp.arange(value.size)).reshape(value.shape)
    return value, vjp(weights.astype(value.dtype))


def assert_trees_close(actual, expected, **tolerances):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(
            np.asarray(a, np.float32), np.asarray(e, np.float32), **tolerances
        ),
        actual,
        expected,
    )
