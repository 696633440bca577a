"""Normalisers: range, inverse, constant dimensions, outliers, JSON."""

import json

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ractd_jax.normalizers import (
    FITS,
    MinMaxNormalizer,
    RobustNormalizer,
    fit_min_max,
    fit_robust,
    fit_zscore,
    normalizer_from_dict,
)

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


# Values of one dimension, and whether float32 tells them apart.
SPREADS = {
    "one number": ([0.3, 0.3, 0.3], False),
    "next to 0.5": (0.5 + 1e-7 * np.array([-0.5, 0.1, 0.5]), False),
    "next to 0": (1e-7 * np.array([-0.5, 0.1, 0.5]), True),
    "small": ([2e-30, 5e-30, 8e-30], True),
    "next to -3e7": ([-3e7, -3e7 - 2, -3e7 - 4], False),
    "wide of 3e7": ([3e7, 3e7 + 200, 3e7 + 400], True),
    "denormal": ([1e-41, 2e-41, 3e-41], False),
    "near the largest": ([-8e37, 1.0, 8e37], True),
}


@pytest.mark.parametrize("fit", FITS.values())
@pytest.mark.parametrize("name", SPREADS)
@pytest.mark.filterwarnings("error")
def test_a_spread_is_judged_by_the_size_of_the_values(name, fit):
    """A constant is 0, whatever is seen, and itself, whatever a network says."""
    values, varies = SPREADS[name]
    x = np.float32(values)[:, None]
    normalizer = fit(x)
    if varies:
        largest = np.abs(jax.jit(normalizer.normalize)(x)).max()
        assert 0.9 < largest < 1.5
        return
    for normalize in (normalizer.normalize, jax.jit(normalizer.normalize)):
        seen = normalize(np.append(x, [[np.float32(12.5)]], axis=0))
        np.testing.assert_array_equal(seen, 0.0)
    for unnormalize in (normalizer.unnormalize, jax.jit(normalizer.unnormalize)):
        said = np.unique(unnormalize(np.float32([[-1.0], [0.2], [7.0]])))
        # Programs take denormal numbers as 0.
        assert len(said) == 1 and x.min() - 1e-38 <= said[0] <= x.max()


@pytest.mark.filterwarnings("ignore:overflow")
def test_statistics_of_huge_values_are_finite():
    """Their range is no float32 number, nor is the square of one."""
    x = np.float32([[3e38, 1.0], [-3.2e38, 2.0], [1e38, 3.0]])
    for fit in FITS.values():
        assert np.isfinite(fit(x).normalize(x)).all()
    np.testing.assert_allclose(fit_min_max(x).normalize(x)[:2, 0], [1, -1], rtol=1e-6)
    assert fit_zscore(x).std[0] == pytest.approx(np.float64(x[:, 0]).std())


def test_a_normaliser_made_before_loads():
    """What checkpoints hold: two lists of numbers, or three entries of z-scores."""
    old = {"low": [0.25, -1.0], "high": [0.25, 3.0]}
    normalizer = normalizer_from_dict(old)
    assert type(normalizer) is MinMaxNormalizer and normalizer.to_dict() == old
    np.testing.assert_array_equal(
        normalizer.unnormalize(np.float32([0.7, 1])), np.float32([0.25, 3])
    )
    old = {"mean": [1.0], "std": [2.0], "clip": 5.0}
    assert normalizer_from_dict(old).to_dict() == old


def test_robust_is_min_max_without_outliers():
    x = np.random.default_rng(0).normal(2, 3, (5_000, 3)).astype(np.float32)
    assert fit_robust(x).equals(fit_min_max(x))


@pytest.mark.parametrize("size", [30, 400, 5_000])
def test_robust_leaves_the_range_to_the_rest(size):
    """One value of a million; 0.9% at -4e5. Both are clipped, and [-1, 1] holds all."""
    x = np.random.default_rng(0).uniform(-1, 1, (size, 2)).astype(np.float32)
    x[size // 3, 0] = 1e6
    x[: int(0.009 * size), 1] = -4e5
    normalizer = fit_robust(x)
    unit = normalizer.normalize(x)
    assert np.abs(unit).max() <= 1.0
    ordinary = np.abs(x).max(axis=1) <= 1.0
    assert np.ptp(unit[ordinary], axis=0).min() > 0.6
    np.testing.assert_allclose(
        normalizer.unnormalize(unit)[ordinary], x[ordinary], atol=1e-5
    )
    stored = json.loads(json.dumps(normalizer.to_dict()))
    again = normalizer_from_dict(stored)
    assert type(again) is RobustNormalizer and again.equals(normalizer)


def test_robust_keeps_a_flag_that_is_hardly_ever_set():
    x = np.zeros((1_000, 1), np.float32)
    x[500] = 1.0
    np.testing.assert_array_equal(np.unique(fit_robust(x).normalize(x)), [-1, 1])


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
