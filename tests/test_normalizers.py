"""Min-max normalisers: range, inverse, constant dimensions, JSON."""

import json

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ractd_jax.normalizers import MinMaxNormalizer, fit_min_max

# Sizes that environments have, on a grid that float32 holds exactly.
values = st.integers(-(10**6), 10**6).map(lambda n: n / 1024)
data = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 8), st.integers(1, 4)), elements=values
)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def resolvable(x):
    """Whether each dimension is constant, or spread wider than rounding."""
    span = np.ptp(x, axis=0)
    return (span == 0) | (span > 1e-2 * np.abs(x).max(axis=0))


@settings(max_examples=100)
@given(data)
def test_range_is_minus_one_to_one(x):
    """The extremes of a varying dimension land on -1 and 1, the rest between."""
    normalizer = fit_min_max(x)
    varies = (np.ptp(x, axis=0) > 0) & resolvable(x)
    unit = normalizer.normalize(x)[:, varies]
    assert unit.dtype == np.float32
    assert (np.abs(unit) <= 1 + 1e-5).all()
    np.testing.assert_allclose(unit.min(axis=0), -1, atol=1e-5)
    np.testing.assert_allclose(unit.max(axis=0), 1, atol=1e-5)


@settings(max_examples=100)
@given(data)
def test_unnormalize_inverts(x):
    """In float32, to the rounding of the dimension's largest value."""
    normalizer = fit_min_max(x)
    back = normalizer.unnormalize(normalizer.normalize(x))
    scale = np.maximum(np.abs(x).max(axis=0), 1e-30)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back / scale, x / scale, atol=1e-5)


def test_by_hand():
    """[0, 10] maps to [-1, 1]; outside it the same line goes on."""
    normalizer = fit_min_max(np.float32([[0, -3], [10, 1], [5, 0]]))
    unit = normalizer.normalize(np.float32([[0, -3], [5, -1], [10, 1], [15, 3]]))
    np.testing.assert_array_equal(unit, [[-1, -1], [0, 0], [1, 1], [2, 2]])
    np.testing.assert_array_equal(
        normalizer.unnormalize(np.float32([[-1, 1], [0.5, 0]])), [[0, 1], [7.5, -1]]
    )


def test_constant_dimension_only_shifts():
    """A constant 7 becomes 0, and 7.25 becomes 0.25: no division by the range."""
    normalizer = fit_min_max(np.float32([[7, 0], [7, 2], [7, 1]]))
    np.testing.assert_array_equal(
        normalizer.normalize(np.float32([[7, 1], [7.25, 2]])), [[0, 0], [0.25, 1]]
    )
    np.testing.assert_array_equal(
        normalizer.unnormalize(np.float32([0.25, 0])), [7.25, 1]
    )


@settings(max_examples=100)
@given(hnp.arrays(np.float32, (3, 2), elements=finite))
def test_json_round_trip_is_exact(x):
    """Any float32 survives the way through a JSON text, bit by bit."""
    normalizer = fit_min_max(x)
    stored = json.loads(json.dumps(normalizer.to_dict()))
    restored = MinMaxNormalizer.from_dict(stored)
    assert restored.low.dtype == restored.high.dtype == np.float32
    assert restored.low.tobytes() == normalizer.low.tobytes()
    assert restored.high.tobytes() == normalizer.high.tobytes()
    assert restored.equals(normalizer)


@pytest.mark.parametrize("bound", ["low", "high"])
def test_equality_compares_every_bit(bound):
    normalizer = fit_min_max(np.float32([[0.5, -1], [2, 3]]))
    moved = np.nextafter(getattr(normalizer, bound), np.float32(9))
    assert not normalizer.equals(normalizer._replace(**{bound: moved}))


def test_same_inside_jit():
    """Traced arrays go through the same arithmetic as numpy's."""
    x = np.random.default_rng(0).normal(3, 20, (32, 5)).astype(np.float32)
    normalizer = fit_min_max(x)
    unit = jax.jit(normalizer.normalize)(x)
    np.testing.assert_allclose(unit, normalizer.normalize(x), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        jax.jit(normalizer.unnormalize)(unit), x, rtol=1e-5, atol=1e-4
    )
