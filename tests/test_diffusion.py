"""The noise grid, the preconditioning and the solvers, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ractd_jax import diffusion
from ractd_jax.diffusion import EdmNoise

EDM = EdmNoise()


def gaussian_denoiser(std: float):
    """E[x_0 | x] for x_0 ~ N(0, std^2)."""

    def denoise_fn(x, sigma):
        shrink = std**2 / (std**2 + sigma**2)
        return diffusion.expand(shrink, x) * x

    return denoise_fn


def exact_path(x, sigma, sigma_next, std):
    """The ODE's solution for Gaussian data: x scales with the marginal's std."""
    return x * np.sqrt((sigma_next**2 + std**2) / (sigma**2 + std**2))


def solver_error(sample, steps, std=0.5):
    sigmas = diffusion.karras_sigmas(steps + 1, EDM)
    x = 80.0 * jnp.ones((1, 1, 1))
    found = sample(gaussian_denoiser(std), x, sigmas)
    return abs(float(found[0, 0, 0]) - exact_path(80.0, 80.0, 0.02, std))


@pytest.mark.parametrize(
    ("sample", "order"), [(diffusion.sample_heun, 2), (diffusion.sample_euler, 1)]
)
def test_error_falls_with_the_solvers_order(sample, order):
    """Halving the steps' length divides the error by 2^order."""
    with jax.enable_x64(True):
        errors = [solver_error(sample, steps) for steps in (40, 80, 160)]
    measured = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(measured, order, atol=0.25)


def test_heun_samples_have_the_datas_standard_deviation():
    sigmas = diffusion.karras_sigmas(80, EDM)
    x = 80.0 * jax.random.normal(jax.random.key(0), (20_000, 1, 1))
    plans = diffusion.sample_heun(gaussian_denoiser(0.5), x, sigmas)
    assert np.std(plans) == pytest.approx(0.5, rel=0.02)


def test_zero_length_step_returns_its_input():
    x = jnp.array([[[0.3]], [[-2.0]]])
    sigma = jnp.array([0.02, 80.0])
    found = diffusion.heun_step(gaussian_denoiser(0.5), x, sigma, sigma)
    np.testing.assert_array_equal(found, x)


def test_grid_ends_and_decreases():
    sigmas = np.asarray(diffusion.karras_sigmas(80, EDM))
    assert sigmas.shape == (80,)
    np.testing.assert_allclose(sigmas[[0, -1]], [80.0, 0.02], rtol=1e-5)
    assert (np.diff(sigmas) < 0).all()
    # The bins that three-step sampling revisits (Duan 2025, 3.5.3).
    np.testing.assert_allclose(sigmas[[27, 54]], [12.0, 0.885], rtol=2e-3)
    past = diffusion.karras_sigma(jnp.array([79, 80, 200]), 80, EDM)
    np.testing.assert_allclose(past, 0.02, rtol=1e-5)


@pytest.mark.parametrize(
    "bad",
    [
        (1, EDM, "num_scales"),
        (80, EDM._replace(sigma_min=0.0), "sigma_min"),
        (80, EDM._replace(sigma_min=100.0), "sigma_min"),
    ],
)
def test_impossible_grid_raises(bad):
    num_scales, edm, message = bad
    with pytest.raises(ValueError, match=message):
        diffusion.karras_sigmas(num_scales, edm)


@settings(max_examples=25)
@given(st.floats(0.02, 80.0), st.floats(-3.0, 3.0))
def test_preconditioning_has_the_stated_factors(sigma, value):
    """D = c_skip x + c_out F(c_in x, 250 ln sigma), evaluated by hand."""
    x = jnp.full((1, 2, 1), value)
    seen = {}

    def network_fn(scaled, c_noise):
        seen.update(scaled=scaled, c_noise=c_noise)
        return jnp.full_like(scaled, 0.7)

    found = diffusion.denoise(network_fn, x, sigma, EDM)
    norm = np.sqrt(sigma**2 + 0.25)
    c_skip = 0.25 / ((sigma - 0.02) ** 2 + 0.25)
    expected = c_skip * value + (sigma - 0.02) * 0.5 / norm * 0.7
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(seen["scaled"], value / norm, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        seen["c_noise"], 250 * np.log(sigma), rtol=1e-4, atol=1e-4
    )


@given(st.floats(0.005, 80.0), st.floats(0.005, 0.5))
def test_with_a_sigma_floor_the_network_gives_the_clean_plan(sigma, floor):
    """D = sd F at every level, told of none below the floor; weight = 1 / c_out^2."""
    x = jnp.full((1, 2, 1), 3.0)
    told = []

    def network(scaled, c_noise):
        told.append(float(c_noise[0]))
        np.testing.assert_allclose(scaled, 3 / np.hypot(sigma, 0.5), rtol=1e-5)
        return jnp.full_like(scaled, 0.7)

    edm = EDM._replace(sigma_min=0.005, floor=floor)
    found = diffusion.denoise(network, x, sigma, edm)
    np.testing.assert_allclose(found, 0.35, rtol=1e-6)
    np.testing.assert_allclose(
        told, 250 * np.log(max(sigma, floor)), rtol=1e-4, atol=1e-3
    )
    weight = diffusion.edm_weight(jnp.float32(sigma), edm)
    np.testing.assert_allclose(weight, 4.0, rtol=1e-6)


def test_denoiser_is_the_identity_at_sigma_min():
    x = jax.random.normal(jax.random.key(0), (3, 4, 2))
    found = diffusion.denoise(lambda scaled, c_noise: scaled + 5.0, x, 0.02, EDM)
    np.testing.assert_allclose(found, x, rtol=1e-6)


def test_clipping_bounds_what_the_solver_sees():
    clipped = diffusion.clip_denoised(lambda x, sigma: 3.0 * x)
    found = clipped(jnp.array([[[0.2]], [[9.0]], [[-9.0]]]), jnp.ones(3))
    np.testing.assert_allclose(found[:, 0, 0], [0.6, 1.0, -1.0], rtol=1e-6)


def test_training_noise_has_the_stated_distributions():
    normal = diffusion.sample_log_normal_sigma(jax.random.key(0), 50_000)
    logs = np.log(normal)
    np.testing.assert_allclose([logs.mean(), logs.std()], [-1.2, 1.2], atol=0.02)
    mixed = diffusion.sample_student_sigma(jax.random.key(1), 50_000, 80, EDM)
    noisy, rest = np.split(np.asarray(mixed), 2)
    lowest = float(diffusion.karras_sigma(0.7 * 79, 80, EDM))
    assert lowest <= noisy.min() and noisy.max() <= 80.0
    middle = float(diffusion.karras_sigma(0.35 * 79, 80, EDM))
    assert np.mean(noisy < middle) == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(np.log(rest).mean(), -1.2, atol=0.03)
