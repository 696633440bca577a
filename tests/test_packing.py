"""Packed bfloat16 kernels: the same convolution, and the planners that use them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.common import made_up_dataset, random_planner
from benchmarks.precision import with_packed_kernels
from ractd_jax.networks import Compute, Conv
from ractd_jax.planning import Planner


def rounded(x):
    return np.asarray(x, jnp.bfloat16).astype(np.float32)


@pytest.mark.parametrize(
    ("batch", "length", "features_in", "taps", "stride", "form"),
    [
        (1, 4, 256, 5, 1, "thin"),
        (1, 4, 1280, 1, 1, "thin"),
        (1, 16, 1280, 3, 2, "thin"),
        (2, 4, 512, 5, 1, "thin"),
        (16, 4, 12, 5, 1, "banded"),
        (20, 8, 6, 3, 2, "banded"),
        (20, 7, 6, 5, 2, "banded"),
        (1, 4, 16, 5, 1, None),
        (16, 16, 6, 5, 1, None),
        (16, 4, 6, 1, 1, None),
    ],
)
def test_a_packed_kernel_is_the_same_convolution(
    batch, length, features_in, taps, stride, form
):
    rng = np.random.default_rng(0)
    x = rounded(rng.standard_normal((batch, length, features_in)))
    plain = Conv(24, taps, stride)
    params = plain.init(jax.random.key(0), x)["params"]
    params = params | {"kernel": jnp.asarray(rounded(params["kernel"]))}
    packing = plain.packing(x.shape)
    assert packing.form == form
    packed = params
    if form:
        packed = params | {"kernel": packing.pack(params["kernel"])}
        assert packed["kernel"].dtype == jnp.bfloat16
    expected = plain.apply({"params": params}, x)
    network = Conv(24, taps, stride, Compute("packed"))
    found = network.apply({"params": packed}, x)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="packs on CPUs only")
@pytest.mark.slow
@pytest.mark.parametrize("num_steps", [1, 2])
def test_packed_planners_plan_the_same(num_steps):
    """At batch 1 thin, of many banded, between them plain; all of rounded kernels."""
    dataset = made_up_dataset()
    exact = random_planner((32, 256), dataset, num_steps=num_steps)
    planner = Planner(
        exact.settings,
        exact.dims,
        "student",
        exact.params,
        exact.observation_normalizer,
        exact.action_normalizer,
        num_steps,
        precision="bfloat16",
    )
    rng = np.random.default_rng(0)
    observations = rng.standard_normal((17, 11)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 17)
    unrounded = exact.plan(observations, keys)
    same_weights = planner._many(observations, keys, first_only=False)
    # A batch that is not packed is the same program for any number of steps.
    plain = [(2, False)] if num_steps == 1 else []
    for size, packs in ((1, True), *plain, (17, True)):
        assert (planner._program(size) is not planner._many) == packs
        found = planner.plan(observations[:size], keys[:size])
        np.testing.assert_allclose(found, same_weights[:size], atol=2e-2)
        moved = np.abs(found - unrounded[:size]).max()
        assert 0 < moved < 2e-2  # A hundredth of the range of the actions.


def test_float32_planners_are_not_packed():
    planner = random_planner((8,), made_up_dataset())
    assert planner._program(1) is planner._many is planner._program(100)
    np.testing.assert_array_equal(
        jax.tree.leaves(with_packed_kernels(planner).params)[0].shape,
        jax.tree.leaves(planner.params)[0].shape,
    )


def test_another_precision_is_refused():
    planner = random_planner((8,), made_up_dataset())
    with pytest.raises(ValueError, match="float32, bfloat16, found 'int8'"):
        Planner(
            planner.settings,
            planner.dims,
            "student",
            planner.params,
            planner.observation_normalizer,
            planner.action_normalizer,
            1,
            precision="int8",
        )
