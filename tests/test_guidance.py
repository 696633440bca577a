"""Guidance on denoisers that are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax import diffusion
from ractd_jax.diffusion import EdmNoise, guidance

STD = 0.5
SIGMAS = diffusion.karras_sigmas(80, EdmNoise())


def gaussian(x, sigma, condition):
    """E[x_0 | x] of N(mean, STD^2), the mean as the condition says."""
    mean = condition["mean"][:, None, None]
    shrink = diffusion.expand(STD**2 / (STD**2 + sigma**2), x)
    return mean + shrink * (x - mean)


def solve(denoise_fn, means, transforms, num=4_000):
    condition = {"mean": jnp.repeat(jnp.asarray(means), num)}
    shape = (num * len(means), 2, 1)
    x = 80.0 * jax.random.normal(jax.random.key(0), shape)
    guided = guidance.guided(denoise_fn, transforms)
    plans = diffusion.sample_heun(guidance.bind(guided, condition), x, SIGMAS)
    return np.asarray(plans).reshape(len(means), num, 2)


def test_without_guidance_a_plan_has_its_condition():
    plans = solve(gaussian, [0.0, 3.0], [])
    np.testing.assert_allclose(plans.mean(axis=1), [[0, 0], [3, 3]], atol=0.05)
    np.testing.assert_allclose(plans.std(axis=1), STD, rtol=0.05)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_classifier_free_goes_from_the_blank_condition_beyond(scale):
    """Of one Gaussian moved by its condition: its mean is w times the condition's."""
    transform = guidance.classifier_free(
        scale, lambda condition: jax.tree.map(jnp.zeros_like, condition)
    )
    plans = solve(gaussian, [2.0], [transform])
    np.testing.assert_allclose(plans.mean(axis=1), 2.0 * scale, atol=0.05)
    np.testing.assert_allclose(plans.std(axis=1), STD, rtol=0.05)


def test_value_guidance_samples_the_tilted_distribution():
    """p(x) exp(s c x) of N(m, v) is N(m + s c v, v): exact for a linear value."""
    slope = jnp.array([1.0, -2.0])

    def value_fn(plans, condition):
        return plans[..., 0] @ slope

    transform = guidance.value_guidance(value_fn, 3.0)
    plans = solve(gaussian, [1.0], [transform])
    expected = 1.0 + 3.0 * np.array([1.0, -2.0]) * STD**2
    np.testing.assert_allclose(plans.mean(axis=1)[0], expected, atol=0.05)
    np.testing.assert_allclose(plans.std(axis=1), STD, rtol=0.05)


def test_inpainting_keeps_what_is_known_in_order_with_others():
    """The last transform has the last word."""

    def pin(plans, condition):
        return plans.at[:, 0].set(7.0)

    def value_fn(plans, condition):
        return plans.sum(axis=(1, 2))

    inpaint, value = guidance.inpaint(pin), guidance.value_guidance(value_fn, 1.0)
    condition = {"mean": jnp.zeros(3)}
    x, sigma = jnp.ones((3, 2, 1)), jnp.full(3, 2.0)
    kept = guidance.guided(gaussian, [value, inpaint])(x, sigma, condition)
    np.testing.assert_array_equal(kept[:, 0], 7.0)
    plain = guidance.guided(gaussian, [value])(x, sigma, condition)
    np.testing.assert_allclose(kept[:, 1], plain[:, 1], rtol=1e-6)
    climbed = guidance.guided(gaussian, [inpaint, value])(x, sigma, condition)
    # Nothing that x could change is left of its value in the first step.
    np.testing.assert_allclose(climbed[:, 0], 7.0, rtol=1e-6)
    np.testing.assert_allclose(climbed[:, 1], plain[:, 1], rtol=1e-6)
