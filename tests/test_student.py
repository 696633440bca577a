"""The jump, the time triples, the teacher solve, few-step sampling, warm start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ractd_jax import diffusion, methods, student
from ractd_jax.dimensions import Dimensions
from ractd_jax.settings import Network
from tests.test_diffusion import EDM, exact_path, gaussian_denoiser
from tests.toys import (
    ctm_student,
    edm_teacher,
    named_condition,
    random_params,
)


def noisy_network(scaled, c_noise, c_noise_stop):
    return jnp.sin(3.0 * scaled) + 0.01 * diffusion.expand(c_noise_stop, scaled)


@settings(max_examples=25)
@given(st.floats(0.02, 80.0), st.integers(0, 99))
def test_jump_to_the_same_level_is_the_identity(sigma, seed):
    x = sigma * jax.random.normal(jax.random.key(seed), (2, 4, 1))
    found = student.jump(noisy_network, x, sigma, sigma, EDM)
    np.testing.assert_allclose(found, x, rtol=1e-5, atol=1e-5)


def test_jump_mixes_the_point_and_its_clean_estimate():
    """G = s/t x + (1 - s/t) g, by hand at one point."""
    x, t, s = jnp.full((1, 1, 1), 2.0), 3.0, 0.75
    raw = np.sin(6.0 / np.sqrt(9.25)) + 0.01 * 250 * np.log(s)
    c_skip = 0.25 / ((t - 0.02) ** 2 + 0.25)
    clean = c_skip * 2.0 + (t - 0.02) * 0.5 / np.sqrt(9.25) * raw
    found = student.jump(noisy_network, x, t, s, EDM)
    np.testing.assert_allclose(found, 0.25 * 2.0 + 0.75 * clean, rtol=1e-5)


@settings(max_examples=20)
@given(st.integers(1, 6), st.integers(2, 80), st.integers(0, 10_000))
def test_time_triples_are_ordered_and_within_the_solver(max_steps, num_scales, seed):
    t, u, s = student.sample_time_triples(
        jax.random.key(seed), 256, num_scales, max_steps
    )
    assert (t >= 0).all() and (t <= num_scales - 1).all() and (s <= num_scales).all()
    assert (t <= u).all() and (u <= s).all() and (u <= t + max_steps).all()


def test_time_triples_are_uniform():
    """t ~ U{0..N-1}; given t, s ~ U{t..N}; u ~ U{t..s} before the cap."""
    t, u, s = map(
        np.asarray, student.sample_time_triples(jax.random.key(0), 400_000, 4, 10)
    )
    counts = np.bincount(t, minlength=4) / len(t)
    np.testing.assert_allclose(counts, 0.25, atol=0.01)
    given_t = s[t == 1]
    np.testing.assert_allclose(np.bincount(given_t)[1:] / len(given_t), 0.25, atol=0.01)
    given_both = u[(t == 1) & (s == 3)]
    share = np.bincount(given_both)[1:] / len(given_both)
    np.testing.assert_allclose(share, 1 / 3, atol=0.015)


@pytest.mark.parametrize("max_steps", [1, 3])
def test_teacher_solve_follows_the_path_and_stops(max_steps):
    """Rows stop at their own bin; a zero-length solve returns its input."""
    sigmas = diffusion.bin_sigmas(80, EDM)
    start = jnp.array([5, 20, 40, 79])
    stop = jnp.array([5, 21, 40 + max_steps, 80])
    x = sigmas[start][:, None, None] * jnp.ones((4, 1, 1))
    found = student.solve_teacher(
        gaussian_denoiser(0.5), x, start, stop, sigmas, max_steps
    )
    exact = exact_path(x[:, 0, 0], sigmas[start], sigmas[stop], 0.5)
    np.testing.assert_allclose(found[:, 0, 0], exact, rtol=3e-3)
    np.testing.assert_array_equal(found[0], x[0])
    np.testing.assert_array_equal(found[3], x[3])


def exact_gaussian_jump(x, sigma, sigma_stop):
    """The jump along the ODE of Gaussian data with standard deviation 0.5."""
    sigma, stop = (diffusion.expand(jnp.broadcast_to(v, x.shape[:1]), x)
                   for v in (sigma, sigma_stop))  # fmt: skip
    return x * jnp.sqrt((stop**2 + 0.25) / (sigma**2 + 0.25))


@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_few_step_samples_of_an_exact_jump_have_the_datas_spread(num_steps):
    sigmas = diffusion.karras_sigmas(80, EDM)
    bins = student.few_step_bins(num_steps, 80)
    x = 80.0 * jax.random.normal(jax.random.key(0), (20_000, 1, 1))
    noises = jax.random.normal(jax.random.key(1), (num_steps - 1, 20_000, 1, 1))
    plans = student.sample_few_step(
        exact_gaussian_jump, x, noises, [sigmas[i] for i in bins], EDM
    )
    assert np.std(plans) == pytest.approx(np.sqrt(0.25 + 0.02**2), rel=0.02)


def test_few_step_bins():
    assert student.few_step_bins(1, 80) == ()
    assert student.few_step_bins(2, 80) == (40,)
    assert student.few_step_bins(3, 80) == (27, 54)
    assert student.few_step_bins(4, 80) == (20, 40, 60)
    with pytest.raises(ValueError, match="num_steps"):
        student.few_step_bins(0, 80)


@pytest.mark.parametrize("octaves", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_warm_started_student_is_the_teacher_at_every_stop_level(octaves):
    dims = Dimensions(observation=3, action=2, horizon=4, history=1)
    network = Network(widths=(8,), embed_dim=8, fourier_octaves=octaves)
    unet = methods.make_network(network, dims)
    params = random_params(unet, dims, "teacher")
    widened = student.warm_start(params, embed_dim=8)
    fresh = random_params(unet, dims, "student")
    assert jax.tree.map(jnp.shape, widened) == jax.tree.map(jnp.shape, fresh)
    x = jax.random.normal(jax.random.key(1), (3, 4, 2))
    condition = named_condition(jax.random.normal(jax.random.key(2), (3, 3)), dims)
    sigma, stop = jnp.array([0.1, 2.0, 70.0]), jnp.array([0.02, 1.0, 30.0])
    denoised = edm_teacher(unet, dims).denoise_fn(params)(x, sigma, condition)
    jumped = ctm_student(unet, dims).jump_fn(widened)(x, sigma, stop, condition)
    ratio = (stop / sigma)[:, None, None]
    np.testing.assert_allclose(
        jumped, ratio * x + (1 - ratio) * denoised, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("octaves", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_folded_jump_is_the_jump(octaves):
    """Random weights, FiLM rows of s and biases included: at smin and in between."""
    dims = Dimensions(observation=3, action=2, horizon=4, history=2)
    network = Network(widths=(8,), embed_dim=8, fourier_octaves=octaves)
    unet = methods.make_network(network, dims)
    params = random_params(unet, dims, "student")
    method = ctm_student(unet, dims)
    x = jax.random.normal(jax.random.key(1), (5, 4, 2))
    condition = named_condition(jax.random.normal(jax.random.key(2), (5, 6)), dims)
    for sigma in (80.0, 0.9):
        folded = method.fold(params, sigma)
        assert "noise_embedding" not in folded
        shared = [tree["middle_a"]["block_in"] for tree in (folded, params)]
        assert shared[0]["conv"]["kernel"] is shared[1]["conv"]["kernel"]
        found = method.folded_jump_fn(folded)(
            sigma * x, sigma, EDM.sigma_min, condition
        )
        full = method.jump_fn(params)
        expected = full(sigma * x, sigma, EDM.sigma_min, condition)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
