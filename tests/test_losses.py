"""The losses and their switches, and a student on data with a known answer."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ractd_jax import diffusion, losses, methods, student
from tests.test_diffusion import EDM

MODES = np.array([-0.6, 0.6])
WIDTH = 0.05


def test_distances_are_the_stated_formulas():
    prediction = jax.random.normal(jax.random.key(0), (3, 4, 2))
    target = jax.random.normal(jax.random.key(1), (3, 4, 2))
    weights = jnp.array([1.0, 2.0, 0.5])
    e = np.asarray(prediction - target, np.float64)
    c = 0.00054 * np.sqrt(8)
    norm = np.sqrt((e**2).sum(axis=(1, 2)))
    expected = {
        "squared": (e**2).mean(axis=(1, 2)),
        "pseudo_huber": np.sqrt(norm**2 + c**2) - c,
        "released": (np.sqrt(e**4 + c**2) - c).mean(axis=(1, 2)),
    }
    assert set(losses.DISTANCES) == set(expected)
    for name, per_plan in expected.items():
        found = losses.distance(name)(prediction, target, weights)
        np.testing.assert_allclose(found, np.mean(weights * per_plan), rtol=1e-5)
    with pytest.raises(ValueError, match="manhattan"):
        losses.distance("manhattan")


def test_dsm_loss_is_zero_for_the_truth_and_weighted_for_an_offset():
    plans = jax.random.normal(jax.random.key(0), (2, 4, 1))
    sigma, noise = jnp.array([0.1, 3.0]), jnp.ones((2, 4, 1))
    options = {"distance_fn": losses.distance("squared"), "edm": EDM}
    found = losses.dsm_loss(lambda x, s: plans, plans, sigma, noise, **options)
    assert float(found) == 0.0
    found = losses.dsm_loss(lambda x, s: plans + 0.2, plans, sigma, noise, **options)
    weight = (np.array([0.01, 9.0]) + 0.25) / (np.array([0.1, 3.0]) * 0.5) ** 2
    np.testing.assert_allclose(found, np.mean(weight * 0.04), rtol=1e-5)


def test_pessimism_takes_standard_deviations_off_the_mean():
    predictions = jnp.array([[0.0, 1.0], [0.4, 1.0]])
    found = losses.pessimistic_return(predictions, 3.0)
    np.testing.assert_allclose(found, [0.2 - 3.0 * 0.2, 1.0], rtol=1e-6)
    grads = jax.grad(lambda p: losses.pessimistic_return(p, 3.0).sum())(predictions)
    assert np.isfinite(grads).all()


def test_reward_loss_sees_the_first_action_clipped():
    """Of plans of actions, with the current observation, which stands last."""
    plans = jnp.array([[[0.5], [9.0]], [[3.0], [9.0]]])
    condition = {"observations": jnp.array([[[7.0], [1.0]], [[7.0], [2.0]]])}
    data = jnp.array([[[0.4], [9.0]], [[0.9], [9.0]]])
    plan_return_fn = methods.of_first_action(lambda o, a: o[:, 0] * a[:, 0])

    def loss_fn(plans, cap):
        return losses.reward_loss(plan_return_fn, condition, plans, data, cap)

    loss, predicted = loss_fn(plans, jnp.inf)
    np.testing.assert_allclose(predicted, [0.5, 2.0])
    np.testing.assert_allclose(loss, -1.25)
    grad = jax.grad(lambda p: loss_fn(p, jnp.inf)[0])(plans)
    np.testing.assert_allclose(grad[:, :, 0], [[-0.5, 0.0], [0.0, 0.0]])


def test_reward_gradient_ends_at_the_cap_over_the_datas_plan():
    condition, data = jnp.ones((2, 1)), jnp.array([[[0.1]], [[0.45]]])
    plans = jnp.full((2, 3, 1), 0.5)

    def loss_fn(plans):
        return losses.reward_loss(
            lambda p, c: c[:, 0] * p[:, 0, 0], condition, plans, data, 0.2
        )[0]

    np.testing.assert_allclose(loss_fn(plans), -(0.3 + 0.5) / 2, rtol=1e-6)
    grad = jax.grad(loss_fn)(plans)
    np.testing.assert_allclose(grad[:, 0, 0], [0.0, -0.5])


def test_ensemble_members_get_the_gradient_of_a_model_alone():
    predictions = jax.random.normal(jax.random.key(0), (3, 8))
    targets = jax.random.normal(jax.random.key(1), (3, 8))
    together = jax.grad(losses.regression_loss)(predictions, targets)
    alone = jax.grad(losses.regression_loss)(predictions[1:2], targets[1:2])
    np.testing.assert_allclose(together[1:2], alone, rtol=1e-6)


def test_ctm_gradient_passes_through_the_frozen_network_only():
    """The target and the frozen parameters get none; the a side does, through G_sg."""
    x_u = jnp.ones((2, 3, 1))
    sigma_u, sigma_s = jnp.array([3.0, 3.0]), jnp.array([1.0, 1.0])

    def loss(at_stop, frozen):
        def frozen_jump(x, sigma, stop):
            return jax.lax.stop_gradient(frozen) * x

        return losses.ctm_loss(
            at_stop,
            frozen_jump,
            x_u,
            sigma_u,
            sigma_s,
            sigma_min=0.02,
            distance_fn=losses.distance("squared"),
        )

    at_stop, frozen = jnp.full((2, 3, 1), 2.0), jnp.array(0.5)
    # b = 0.5, target = 0.25, prediction = 0.5 * 2 = 1.
    np.testing.assert_allclose(loss(at_stop, frozen), 0.75**2, rtol=1e-6)
    at_grad, frozen_grad = jax.grad(loss, (0, 1))(at_stop, frozen)
    np.testing.assert_allclose(at_grad, 2 * 0.75 * 0.5 / 6, rtol=1e-6)
    assert float(frozen_grad) == 0.0


# A student on two bumps of 1-D data whose teacher is known in closed form.


def two_bump_denoiser(x, sigma):
    """E[x_0 | x] for equal bumps of standard deviation WIDTH at MODES."""
    variance = diffusion.expand(sigma**2, x) + WIDTH**2
    logits = -jnp.square(x - MODES) / (2 * variance)
    posterior = MODES + WIDTH**2 / variance * (x - MODES)
    return jnp.sum(jax.nn.softmax(logits, -1) * posterior, -1, keepdims=True)


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x, c_noise, c_noise_stop):
        levels = jnp.stack([c_noise, c_noise_stop], -1)[:, None, :] / 1000.0
        x = jnp.concatenate([x, levels], -1)
        for width in (128, 128, 128):
            x = nn.silu(nn.Dense(width)(x))
        return nn.Dense(1)(x)


def train_two_bump_student(plan_return_fn=None, weight=0.0, steps=4_000, **options):
    """One-step samples [n] of a student trained by the package's own loss."""
    network, batch = Mlp(), 512
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, steps))
    sigmas = diffusion.bin_sigmas(20, EDM)
    squared = losses.distance("squared")
    form = losses.StudentForm(squared, **{"max_solver_steps": 4} | options)
    coefficients = losses.StudentCoefficients(30.0, 1.0, weight)

    def clean_fn(params, x, sigma, stop):
        def network_fn(*inputs):
            return network.apply(params, *inputs)

        return student.clean_estimate(network_fn, x, sigma, stop, EDM)

    def jump_fn(params, x, sigma, stop):
        clean = clean_fn(params, x, sigma, stop)
        return student.move_towards(x, clean, sigma, stop)

    def loss_fn(params, key):
        keys = jax.random.split(key, 6)
        modes = jax.random.choice(keys[0], jnp.asarray(MODES), (batch, 1, 1))
        plans = modes + WIDTH * jax.random.normal(keys[1], (batch, 1, 1))
        steps_up_to = form.max_solver_steps
        draws = losses.StudentDraws(
            student.sample_time_triples(keys[2], batch, 20, steps_up_to),
            jax.random.normal(keys[3], plans.shape),
            diffusion.sample_student_sigma(keys[4], batch, 80, EDM),
            jax.random.normal(keys[5], plans.shape),
            80.0 * jax.random.normal(keys[0], plans.shape),
        )
        frozen = functools.partial(jump_fn, jax.lax.stop_gradient(params))
        return losses.student_loss(
            losses.StudentFunctions(
                lambda x, sigma, stop, condition: clean_fn(params, x, sigma, stop),
                frozen,
                two_bump_denoiser,
                plan_return_fn,
            ),
            plans,
            plans[:, 0],
            draws,
            sigmas,
            coefficients,
            form,
            EDM,
        )

    @jax.jit
    def train(key):
        zero = jnp.zeros((1, 1, 1)), jnp.ones(1), jnp.ones(1)
        params = network.init(key, *zero)

        def body(carry, step):
            params, opt_state = carry
            grads = jax.grad(loss_fn, has_aux=True)(
                params, jax.random.fold_in(key, step)
            )[0]
            updates, opt_state = optimizer.update(grads, opt_state)
            return (optax.apply_updates(params, updates), opt_state), None

        carry = params, optimizer.init(params)
        (params, _), _ = jax.lax.scan(body, carry, jnp.arange(steps))
        noise = 80.0 * jax.random.normal(key, (4_000, 1, 1))
        return jump_fn(params, noise, jnp.float32(80.0), jnp.float32(0.02))[:, 0, 0]

    return np.asarray(train(jax.random.key(0)))


@pytest.mark.slow
def test_student_reaches_both_bumps_and_little_between():
    samples = train_two_bump_student()
    between = np.mean(np.abs(samples) < 0.3)
    assert between < 0.05
    assert 0.4 < np.mean(samples > 0) < 0.6


@pytest.mark.slow
def test_reward_pulls_the_student_to_the_rewarded_bump():
    """The reward rises up to the bump at 0.6 and is flat beyond it."""

    def plan_return_fn(plans, condition):
        return jnp.clip(plans[:, 0, 0], -1.0, MODES[1])

    samples = train_two_bump_student(plan_return_fn, weight=20.0)
    rewarded = np.mean(np.abs(samples - MODES[1]) < 0.3)
    assert rewarded > 0.9
