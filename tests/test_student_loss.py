"""The student's loss against its equation, computed by hand in float64.

The networks are closed forms of arrays, so that every term can be written down without
the package: alpha L_CTM + beta L_DSM + sigma_r L_Reward + kappa L_path.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax import losses
from ractd_jax.diffusion import EdmNoise
from ractd_jax.student import PathPoints, TimeTriple

# Bins 0..4; the last two are both "time zero", as on a Karras grid.
SIGMAS = np.array([4.0, 2.0, 1.0, 0.25, 0.25])
EDM = EdmNoise(sigma_min=0.25, sigma_max=4.0, sigma_data=0.5)
T, U, S = np.array([0, 1, 2, 1]), np.array([1, 2, 3, 1]), np.array([3, 4, 3, 2])
DSM_SIGMA = np.array([0.5, 3.0, 1.5, 0.25])
ALPHA, BETA, REWARD, KAPPA = 2.0, 0.5, 3.0, 1.5


def column(values):
    return values[:, None, None]


def clean(x, sigma, stop, condition, np=np):
    """g_theta: bends with every one of its inputs."""
    tilt = np.tanh(condition[:, :1, None])
    return 0.6 * np.sin(x) / (1 + column(sigma)) + 0.2 * column(stop) + 0.3 * tilt


def frozen_clean(x, sigma, stop, np=np):
    return 0.4 * np.cos(x) / (1 + column(sigma)) - 0.1 * column(stop)


def jump(clean_plan, x, sigma, stop):
    ratio = column(stop / sigma)
    return ratio * x + (1 - ratio) * clean_plan


def frozen_jump(x, sigma, stop, np=np):
    return jump(frozen_clean(x, sigma, stop, np), x, sigma, stop)


def teacher(x, sigma, np=np):
    return 0.25 * x / (0.25 + column(sigma) ** 2) + 0.1


def plan_return(plans, condition, np=np):
    return np.sin(2 * plans[:, 0]).sum(-1) + 0.1 * condition[:, 0]


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.standard_normal(shape)

    path = PathPoints(
        start=2.0 * draw(3, 2, 2),
        sigma=np.array([4.0, 2.0, 1.0]),
        end=0.5 * draw(3, 2, 2),
        condition=draw(3, 3),
    )
    draws = losses.StudentDraws(
        TimeTriple(T, U, S), draw(4, 2, 2), DSM_SIGMA, draw(4, 2, 2),
        4.0 * draw(4, 2, 2), path,
    )  # fmt: skip
    return 0.5 * draw(4, 2, 2), draw(4, 3), draws


def by_hand(plans, condition, draws, dsm_form, reward_input, cap, solver_steps=1):
    """The terms, each as its equation has it."""
    t, u, s = SIGMAS[T], SIGMAS[U], SIGMAS[S]
    end = np.full(4, 0.25)
    # 1. CTM. One Heun step of dx/dsigma = (x - D) / sigma, from t to u.
    x_t = plans + column(t) * draws.ctm_noise
    slope = (x_t - teacher(x_t, t)) / column(t)
    guess = x_t + column(u - t) * slope
    slope_u = (guess - teacher(guess, u)) / column(u)
    x_u = x_t + column(u - t) * (slope + slope_u) / 2
    target = frozen_jump(frozen_jump(x_u, u, s), s, end)
    at_s = jump(clean(x_t, t, s, condition), x_t, t, s)
    ctm = np.mean((frozen_jump(at_s, s, end) - target) ** 2)
    # 2. DSM, weighted by (sigma^2 + sd^2) / (sigma sd)^2.
    x = plans + column(DSM_SIGMA) * draws.dsm_noise
    to_end = jump(clean(x, DSM_SIGMA, end, condition), x, DSM_SIGMA, end)
    denoised = clean(x, DSM_SIGMA, DSM_SIGMA, condition)
    weight = (DSM_SIGMA**2 + 0.25) / (DSM_SIGMA * 0.5) ** 2
    error = (denoised if dsm_form == "denoiser" else to_end) - plans
    dsm = np.mean(weight * np.mean(error**2, axis=(1, 2)))
    # 3. Paths.
    path, stop = draws.path, np.full(3, 0.25)
    found = clean(path.start, path.sigma, stop, path.condition)
    along = jump(found, path.start, path.sigma, stop) - path.end
    # 4. Reward.
    high = np.full(4, 4.0)
    sample = clean(draws.init_noise, high, end, condition)
    sample = jump(sample, draws.init_noise, high, end)
    predicted = plan_return(sample if reward_input == "one_step" else to_end, condition)
    if cap is not None:
        predicted = np.minimum(predicted, plan_return(plans, condition) + cap)
    return {
        "loss/ctm": ctm,
        "loss/dsm": dsm,
        "loss/path": np.mean(along**2),
        "loss/reward": -np.mean(predicted),
    }


def by_package(inputs, dsm_form, reward_input, cap, **changes):
    plans, condition, draws = jax.tree.map(jnp.asarray, inputs)
    functions = losses.StudentFunctions(
        clean=lambda x, sigma, stop, c: clean(x, sigma, stop, c, jnp),
        frozen_jump=lambda x, sigma, stop: frozen_jump(x, sigma, stop, jnp),
        teacher_denoise=lambda x, sigma: teacher(x, sigma, jnp),
        plan_return=lambda plans, c: plan_return(plans, c, jnp),
    )
    coefficients = losses.StudentCoefficients(
        ALPHA, BETA, REWARD, KAPPA, advantage_cap=cap
    )
    return losses.student_loss(
        functions._replace(**changes.get("functions", {})),
        plans,
        condition,
        draws._replace(**changes.get("draws", {})),
        jnp.asarray(SIGMAS),
        coefficients,
        losses.StudentForm(losses.distance("squared"), 1, dsm_form, reward_input),
        EDM,
    )


@pytest.mark.parametrize(
    ("dsm_form", "reward_input", "cap"),
    itertools.product(["denoiser", "jump"], ["dsm", "one_step"], [None, 0.0, 0.3]),
)
def test_the_loss_is_the_equation(inputs, dsm_form, reward_input, cap):
    form = dsm_form, reward_input, cap
    expected = by_hand(*inputs, *form)
    with jax.enable_x64(True):
        loss, found = by_package(inputs, *form)
    total = sum(
        factor * expected[f"loss/{name}"]
        for factor, name in zip(
            (ALPHA, BETA, REWARD, KAPPA), ("ctm", "dsm", "reward", "path"), strict=True
        )
    )
    assert found.keys() == {"loss/total", *expected}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(loss, total, rtol=1e-6)
    np.testing.assert_array_equal(loss, found["loss/total"])


def test_the_caps_differ_and_infinity_is_none(inputs):
    with jax.enable_x64(True):
        found = {
            cap: float(by_package(inputs, "denoiser", "dsm", cap)[1]["loss/reward"])
            for cap in (None, np.inf, 0.3, 0.0)
        }
    assert found[None] == found[np.inf]
    assert found[None] < found[0.3] < found[0.0]


def test_terms_are_left_out(inputs):
    changes = {"functions": {"plan_return": None}, "draws": {"path": None}}
    with jax.enable_x64(True):
        loss, found = by_package(inputs, "denoiser", "dsm", None, **changes)
    assert found.keys() == {"loss/total", "loss/ctm", "loss/dsm"}
    expected = by_hand(*inputs, "denoiser", "dsm", None)
    two = ALPHA * expected["loss/ctm"] + BETA * expected["loss/dsm"]
    np.testing.assert_allclose(loss, two, rtol=1e-6)
