"""Whole teacher paths, and how much of its teacher a student keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax import losses
from ractd_jax.diffusion import EdmNoise, karras_sigmas, sample_heun
from ractd_jax.losses import (
    StudentCoefficients,
    StudentDraws,
    StudentForm,
    StudentFunctions,
    student_loss,
)
from ractd_jax.student import (
    TimeTriple,
    clean_estimate,
    fidelity,
    move_towards,
    solve_paths,
)
from ractd_jax.student.fidelity import mode_shares, sliced_wasserstein, spread

EDM = EdmNoise()
SIGMAS = karras_sigmas(6, EDM)


def gaussian_denoiser(mean, variance):
    """The exact D(x, sigma) of data ~ N(mean, variance)."""

    def denoise_fn(x, sigma):
        sigma = jnp.broadcast_to(sigma, x.shape[:1]).reshape(-1, 1, 1)
        return (variance * x + sigma**2 * mean) / (variance + sigma**2)

    return denoise_fn


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_a_point_of_level_zero_is_the_noise_and_ends_where_heun_ends():
    denoise_fn = gaussian_denoiser(0.3, 0.25)
    x = 80.0 * draw((4, 3, 2))
    condition = draw((4, 5), 1)
    levels = jnp.array([0, 0, 2, 4], jnp.int32)
    found = jax.jit(lambda x: solve_paths(denoise_fn, x, condition, SIGMAS, levels))(x)
    expected = sample_heun(denoise_fn, x, SIGMAS)
    np.testing.assert_allclose(found.end, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.start[:2], x[:2], rtol=1e-6)
    np.testing.assert_allclose(found.sigma, SIGMAS[levels], rtol=1e-6)
    np.testing.assert_allclose(
        found.start[2], sample_heun(denoise_fn, x, SIGMAS[:3])[2], rtol=1e-5, atol=1e-5
    )
    # From where it was kept, the rest of the grid leads to the same end.
    rest = sample_heun(denoise_fn, found.start[3:], SIGMAS[4:])
    np.testing.assert_allclose(rest[0], found.end[3], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found.condition, condition)


def test_path_loss_is_zero_for_the_exact_jump_and_the_squared_error_otherwise():
    """L_path by hand, with a closed-form network in place of a trained one."""
    denoise_fn = gaussian_denoiser(0.3, 0.25)
    plans, condition = draw((4, 3, 2), 2), draw((4, 5), 1)
    path = solve_paths(
        denoise_fn, 80.0 * draw((6, 3, 2)), draw((6, 5)), SIGMAS, jnp.arange(6) % 5
    )
    ends = {"offset": 0.0}

    def clean_fn(x, sigma, stop, cond):
        """Gives the plan from which the jump arrives at the path's end + offset."""
        clean = jnp.zeros_like(x)
        ratio = (stop / sigma).reshape(-1, 1, 1)[-6:]
        target = (path.end + ends["offset"] - ratio * x[-6:]) / (1.0 - ratio)
        return clean.at[-6:].set(target)

    draws = StudentDraws(
        triple=TimeTriple(*(jnp.zeros(4, jnp.int32) for _ in range(3))),
        ctm_noise=draw((4, 3, 2), 3),
        dsm_sigma=jnp.ones(4),
        dsm_noise=draw((4, 3, 2), 4),
        init_noise=80.0 * draw((4, 3, 2), 5),
        path=path,
    )

    def loss(path_weight):
        return student_loss(
            StudentFunctions(clean_fn, lambda x, sigma, stop: x, denoise_fn),
            plans,
            condition,
            draws,
            SIGMAS,
            StudentCoefficients(path_weight=path_weight),
            StudentForm(losses.distance("squared")),
            EDM,
        )

    total, info = loss(3.0)
    assert float(info["loss/path"]) == pytest.approx(0.0, abs=1e-8)
    ends["offset"] = 0.5
    more, info = loss(3.0)
    assert float(info["loss/path"]) == pytest.approx(0.25, rel=1e-4)
    assert float(more - total) == pytest.approx(3.0 * 0.25, rel=1e-4)


def test_an_identical_student_has_full_fidelity():
    teacher = draw((5, 64, 4, 2))
    found = fidelity(teacher, teacher)
    for name in ("spread", "plan_spread"):
        assert float(found[name]) == pytest.approx(1.0)
    for name in ("error", "plan_error", "sliced_wasserstein", "mode_gap"):
        assert float(found[name]) == 0.0
    assert float(found["teacher_spread"]) == pytest.approx(1.0, abs=0.1)


def test_a_conditional_mean_has_no_fidelity():
    teacher = draw((5, 64, 4, 2)) + 3.0
    student = np.broadcast_to(teacher.mean(axis=1, keepdims=True), teacher.shape)
    found = fidelity(teacher, student)
    assert float(found["spread"]) == pytest.approx(0.0, abs=1e-5)
    # All that the teacher varies by is lost.
    assert float(found["error"]) == pytest.approx(1.0, rel=1e-4)


def test_a_teacher_without_spread_has_finite_numbers():
    same = jnp.ones((2, 8, 3, 1))
    found = fidelity(same, same)
    assert found["spread"] == found["error"] == 0.0
    assert all(np.isfinite(value) for value in found.values())


def test_error_is_in_units_of_the_teachers_spread():
    teacher = 0.2 * draw((5, 256, 4, 2))
    found = fidelity(teacher, teacher + 0.1)
    assert float(found["error"]) == pytest.approx(0.5, rel=0.05)
    assert float(found["spread"]) == pytest.approx(1.0, rel=1e-5)


def test_mode_shares_count_both_models_by_the_teachers_split():
    """Two bumps 2 apart: 30% of the teacher's samples above, 60% of the student's."""
    rng = np.random.default_rng(0)

    def bumps(share):
        upper = np.arange(100) < 100 * share
        centre = np.stack([upper * 2.0 - 1.0, np.zeros(100)], axis=-1)
        return np.float32(centre + 0.1 * rng.standard_normal((3, 100, 2)))

    teacher, student = bumps(0.3), bumps(0.6)
    shares, found = mode_shares(teacher, student)
    # The axis has no sign: either side may be counted.
    flipped = np.asarray(shares) > 0.5
    np.testing.assert_allclose(np.where(flipped, 1 - shares, shares), 0.3, atol=1e-6)
    np.testing.assert_allclose(np.where(flipped, 1 - found, found), 0.6, atol=1e-6)
    whole = fidelity(teacher[:, :, None], student[:, :, None])
    assert float(whole["mode_gap"]) == pytest.approx(0.3, abs=1e-6)
    assert float(whole["teacher_mode_share"]) == pytest.approx(0.7, abs=1e-6)
    assert float(whole["mode_share"]) == pytest.approx(0.4, abs=1e-6)


def test_sliced_wasserstein_of_a_shift_is_its_mean_projection():
    """In one dimension it is the shift itself."""
    x = draw((3, 50, 1))
    assert float(sliced_wasserstein(x, x + 0.7)) == pytest.approx(0.7, rel=1e-5)
    shuffled = np.random.default_rng(0).permuted(x, axis=1)
    assert float(sliced_wasserstein(x, shuffled)) == pytest.approx(0.0, abs=1e-6)


def test_spread_is_the_standard_deviation_over_the_noise():
    """Means that differ between states are no spread."""
    x = draw((8, 500, 3)) * 0.4 + 10.0 * draw((8, 1, 3), 1)
    assert float(spread(x)) == pytest.approx(0.4, rel=0.05)


@pytest.mark.slow
def test_exact_jump_of_a_gaussian_is_learned_from_paths_alone():
    """A linear student regressed on paths makes the teacher's jump from sigma_max."""
    denoise_fn = gaussian_denoiser(0.3, 0.25)
    x = 80.0 * draw((512, 1, 1))
    path = solve_paths(
        denoise_fn,
        x,
        jnp.zeros((512, 1)),
        karras_sigmas(41, EDM),
        jnp.zeros(512, jnp.int32),
    )

    def predict(params, x):
        clean = clean_estimate(
            lambda scaled, *_: params[0] * scaled + params[1],
            x,
            80.0,
            0.02,
            EDM,
        )
        return move_towards(x, clean, 80.0, 0.02)

    def loss(params):
        return jnp.mean(jnp.square(predict(params, path.start) - path.end))

    params = jnp.zeros(2)
    for _ in range(300):
        params = params - 1.0 * jax.grad(loss)(params)
    found = predict(params, x)
    # The probability flow maps N(0, 80^2) to N(0.3, 0.25 + sigma_min^2), in order.
    assert float(found.mean()) == pytest.approx(
        0.3 + 0.5 / 80.0 * float(x.mean()), abs=0.02
    )
    assert float(found.std()) == pytest.approx(0.5 * float(x.std()) / 80.0, rel=0.03)
