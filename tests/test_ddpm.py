"""The cosine schedule, the samplers of DDPM and DDIM and the loss, in closed form."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ractd_jax import diffusion, losses
from ractd_jax.dimensions import Dimensions
from ractd_jax.methods import Ddpm
from ractd_jax.training.stages import make_stage
from tests.toys import random_weights, stage_loss, toy_dataset, toy_settings

STD = 0.5
MODE, SHARE = 0.6, 0.3


def gaussian_clean_fn(schedule, std=STD):
    """E[x_0 | x_t] for x_0 ~ N(0, std^2)."""

    def clean_fn(x, t):
        signal = diffusion.expand(schedule.signal[t.astype(int)], x)
        noise = diffusion.expand(schedule.noise[t.astype(int)], x)
        return signal * std**2 / (signal**2 * std**2 + noise**2) * x

    return clean_fn


def two_point_clean_fn(schedule):
    """E[x_0 | x_t] for x_0 = MODE with probability SHARE, -MODE otherwise."""

    def clean_fn(x, t):
        signal = diffusion.expand(schedule.signal[t.astype(int)], x)
        noise = diffusion.expand(schedule.noise[t.astype(int)], x)
        half_odds = 0.5 * np.log(SHARE / (1 - SHARE))
        return MODE * jnp.tanh(half_odds + MODE * signal * x / noise**2)

    return clean_fn


def ancestral(make_clean_fn, num_timesteps, batch):
    schedule = diffusion.ddpm_schedule(num_timesteps)
    noises = jax.random.normal(jax.random.key(0), (num_timesteps + 1, batch, 1, 1))
    sample = jax.jit(lambda x, n: diffusion.sample_ddpm(clean_fn, x, n, schedule))
    clean_fn = make_clean_fn(schedule)
    return np.asarray(sample(noises[0], noises[1:]))[:, 0, 0]


def implicit(make_clean_fn, num_timesteps, num_steps, batch):
    schedule = diffusion.ddpm_schedule(num_timesteps)
    x_init = jax.random.normal(jax.random.key(0), (batch, 1, 1))
    clean_fn = make_clean_fn(schedule)
    sample = jax.jit(lambda x: diffusion.sample_ddim(clean_fn, x, schedule, num_steps))
    return np.asarray(sample(x_init))[:, 0, 0]


def times_of(sample) -> list[list[float]]:
    """The timesteps [B] of each evaluation that `sample(clean_fn)` makes."""
    seen = []

    def clean_fn(x, t):
        assert t.dtype == jnp.float32
        seen.append(np.asarray(t).tolist())
        return x

    with jax.disable_jit():
        sample(clean_fn)
    return seen


# --- the schedule


@settings(max_examples=30)
@given(st.integers(1, 1_000))
def test_noise_grows_and_the_posterior_leads_to_the_marginal_before(num_timesteps):
    """Drawing x_t from q(x_t | x_0), then from the posterior, is q(x_{t-1} | x_0)."""
    schedule = diffusion.ddpm_schedule(num_timesteps)
    assert all(factor.dtype == jnp.float32 for factor in schedule)
    assert all(factor.shape == (num_timesteps,) for factor in schedule)
    found = diffusion.DdpmSchedule(*(np.asarray(f, np.float64) for f in schedule))
    levels = np.append(1.0, found.alphas_cumprod)
    assert (np.diff(levels) < 0).all() and levels[-1] > 0
    assert (levels[1:] >= 0.999e-3 * levels[:-1]).all(), "betas end at 0.999"
    np.testing.assert_allclose(found.signal**2, found.alphas_cumprod, rtol=1e-6)
    np.testing.assert_allclose(found.signal**2 + found.noise**2, 1.0, atol=1e-6)
    mean = found.posterior_clean + found.posterior_noisy * found.signal
    np.testing.assert_allclose(mean, np.append(1.0, found.signal[:-1]), rtol=1e-5)
    variance = (found.posterior_noisy * found.noise) ** 2 + found.posterior_std**2
    before = np.append(0.0, found.noise[:-1]) ** 2
    np.testing.assert_allclose(variance, before, rtol=1e-5, atol=1e-7)
    first = [found.posterior_clean[0], found.posterior_noisy[0], found.posterior_std[0]]
    np.testing.assert_allclose(first, [1.0, 0.0, 0.0], atol=1e-7)


def test_schedule_is_the_published_cosine():
    """abar_t = f((t + 1) / T) / f(0), but for the last beta, which is clipped."""
    abar = np.asarray(diffusion.ddpm_schedule(100).alphas_cumprod)
    angle = (np.arange(101) / 100 + 0.008) / 1.008 * np.pi / 2
    expected = np.cos(angle[1:]) ** 2 / np.cos(angle[0]) ** 2
    np.testing.assert_allclose(abar[:-1], expected[:-1], rtol=1e-5)
    np.testing.assert_allclose(abar[-1], 1e-3 * abar[-2], rtol=1e-5)


@pytest.mark.parametrize("num_timesteps", [0, -3])
def test_impossible_schedule_raises(num_timesteps):
    with pytest.raises(ValueError, match="num_timesteps"):
        diffusion.ddpm_schedule(num_timesteps)


def test_noise_is_added_by_each_plans_timestep():
    schedule = diffusion.ddpm_schedule(10)
    x0, noise = jnp.full((3, 2, 1), 0.7), jnp.full((3, 2, 1), -1.3)
    t = jnp.array([0, 5, 9])
    found = diffusion.add_ddpm_noise(schedule, x0, t, noise)
    abar = np.asarray(schedule.alphas_cumprod, np.float64)[np.array(t)]
    expected = 0.7 * np.sqrt(abar) - 1.3 * np.sqrt(1 - abar)
    np.testing.assert_allclose(found[:, 0, 0], expected, rtol=1e-4)


# --- ancestral sampling


@pytest.mark.parametrize("num_timesteps", [5, 200])
def test_ancestral_samples_have_the_chains_moments(num_timesteps):
    """For Gaussian data the chain is linear: its variance follows a recursion."""
    schedule = diffusion.ddpm_schedule(num_timesteps)
    signal, noise, clean, noisy, std = (np.asarray(f, np.float64) for f in schedule[1:])
    shrink = signal * STD**2 / (signal**2 * STD**2 + noise**2)
    variance = 1.0
    for t in reversed(range(num_timesteps)):
        variance = (clean[t] * shrink[t] + noisy[t]) ** 2 * variance + std[t] ** 2
    samples = ancestral(gaussian_clean_fn, num_timesteps, 20_000)
    assert samples.mean() == pytest.approx(0.0, abs=0.015)
    assert samples.std() == pytest.approx(np.sqrt(variance), rel=0.02)
    if num_timesteps == 200:
        assert samples.std() == pytest.approx(STD, rel=0.03)


def test_ancestral_samples_are_the_two_points_in_their_shares():
    samples = ancestral(two_point_clean_fn, 100, 10_000)
    np.testing.assert_allclose(np.abs(samples), MODE, atol=1e-3)
    assert np.mean(samples > 0) == pytest.approx(SHARE, abs=0.02)


def test_ancestral_sampling_evaluates_every_timestep_once():
    schedule = diffusion.ddpm_schedule(4)
    x, noises = jnp.zeros((2, 3, 1)), jnp.zeros((4, 2, 3, 1))
    seen = times_of(lambda fn: diffusion.sample_ddpm(fn, x, noises, schedule))
    assert seen == [[3.0, 3.0], [2.0, 2.0], [1.0, 1.0], [0.0, 0.0]]


def test_last_ancestral_step_adds_no_noise():
    schedule = diffusion.ddpm_schedule(6)
    point = jnp.full((2, 3, 1), 0.25)
    noises = 100.0 * jax.random.normal(jax.random.key(1), (6, 2, 3, 1))
    found = diffusion.sample_ddpm(lambda x, t: point, point, noises, schedule)
    np.testing.assert_allclose(found, point, atol=1e-5)


def test_noises_must_fit_the_schedule():
    schedule = diffusion.ddpm_schedule(6)
    x = jnp.zeros((2, 3, 1))
    with pytest.raises(AssertionError):
        diffusion.sample_ddpm(lambda x, t: x, x, jnp.zeros((5, 2, 3, 1)), schedule)


# --- DDIM


def test_many_ddim_steps_have_the_datas_standard_deviation():
    samples = implicit(gaussian_clean_fn, 1_000, 1_000, 20_000)
    assert samples.mean() == pytest.approx(0.0, abs=0.015)
    assert samples.std() == pytest.approx(STD, rel=0.02)


def test_more_ddim_steps_are_closer_to_the_data():
    errors = [
        abs(implicit(gaussian_clean_fn, 1_000, steps, 20_000).std() - STD)
        for steps in (1, 5, 50)
    ]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_many_ddim_steps_are_the_two_points_in_their_shares():
    samples = implicit(two_point_clean_fn, 500, 250, 10_000)
    assert np.mean(np.abs(np.abs(samples) - MODE) < 1e-3) > 0.99
    assert np.mean(samples > 0) == pytest.approx(SHARE, abs=0.02)


def test_ddim_is_deterministic_and_each_plan_its_own():
    schedule = diffusion.ddpm_schedule(20)
    clean_fn = two_point_clean_fn(schedule)
    x = jax.random.normal(jax.random.key(2), (4, 3, 1))
    found = diffusion.sample_ddim(clean_fn, x, schedule, 7)
    again = diffusion.sample_ddim(clean_fn, x, schedule, 7)
    np.testing.assert_array_equal(found, again)
    alone = diffusion.sample_ddim(clean_fn, x[1:2], schedule, 7)
    np.testing.assert_allclose(found[1:2], alone, rtol=1e-5, atol=1e-6)


def test_one_ddim_step_is_the_clean_estimate():
    schedule = diffusion.ddpm_schedule(20)
    clean_fn = two_point_clean_fn(schedule)
    x = jax.random.normal(jax.random.key(2), (4, 3, 1))
    found = diffusion.sample_ddim(clean_fn, x, schedule, 1)
    np.testing.assert_allclose(found, clean_fn(x, jnp.full(4, 19.0)), rtol=1e-5)


@settings(max_examples=6)
@given(st.data())
def test_ddim_timesteps_are_even_and_of_the_given_number(data):
    num_timesteps = data.draw(st.integers(1, 30))
    num_steps = data.draw(st.integers(1, num_timesteps))
    schedule = diffusion.ddpm_schedule(num_timesteps)
    x = jnp.zeros((1, 1))
    seen = times_of(lambda fn: diffusion.sample_ddim(fn, x, schedule, num_steps))
    times = [time for (time,) in seen]
    assert len(times) == num_steps and times[0] == num_timesteps - 1
    gaps = -np.diff([*times, -1])
    assert gaps.min() >= 1 and gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("num_steps", [0, -1, 11])
def test_impossible_number_of_ddim_steps_raises(num_steps):
    schedule = diffusion.ddpm_schedule(10)
    with pytest.raises(ValueError, match=r"num_steps must be in 1\.\.10"):
        diffusion.sample_ddim(lambda x, t: x, jnp.zeros((1, 1)), schedule, num_steps)


# --- the loss


def test_loss_is_zero_for_a_point_mass_and_unweighted_for_an_offset():
    schedule = diffusion.ddpm_schedule(10)
    plans = jnp.broadcast_to(jnp.array([[0.3], [-0.7]]), (3, 2, 1))
    t, noise = jnp.array([0, 4, 9]), jnp.ones((3, 2, 1))
    options = {"distance_fn": losses.distance("squared")}
    found = losses.ddpm_loss(lambda x, t: plans, plans, t, noise, schedule, **options)
    assert float(found) == 0.0
    found = losses.ddpm_loss(
        lambda x, t: plans + 0.2, plans, t, noise, schedule, **options
    )
    np.testing.assert_allclose(found, 0.04, rtol=1e-5)


def test_loss_shows_the_network_the_noisy_plan_and_its_time():
    schedule = diffusion.ddpm_schedule(10)
    plans = jax.random.normal(jax.random.key(0), (3, 2, 1))
    noise = jax.random.normal(jax.random.key(1), (3, 2, 1))
    t = jnp.array([0, 4, 9])

    def invert(x, times):
        """x_0 from x_t and the noise that was added."""
        assert times.dtype == jnp.float32
        index = times.astype(int)
        signal, scale = schedule.signal[index], schedule.noise[index]
        return (x - scale[:, None, None] * noise) / signal[:, None, None]

    options = {"distance_fn": losses.distance("squared")}
    found = losses.ddpm_loss(invert, plans, t, noise, schedule, **options)
    # Cancellation at t = 9, where the signal is 1.6e-3 of the noise.
    assert float(found) < 1e-5


@pytest.mark.parametrize("embedding", ["released", "edm"])
def test_what_the_network_sees_of_a_timestep(embedding):
    """The timestep itself, or 250 ln(noise / signal), which is a level's c_noise."""
    schedule, seen = diffusion.ddpm_schedule(10), []

    def apply(params, x, level, condition):
        seen.append(np.asarray(level))
        return x

    config = SimpleNamespace(noise_embedding=embedding, pins_ends=False)
    network = SimpleNamespace(config=config, apply=apply)
    method = Ddpm(network, Dimensions(2, 1, 2, 1), 10, losses.distance("squared"))
    clean_fn = method.clean_fn({})
    times = jnp.array([0.0, 4.0, 9.0])  # As the loss and the samplers give them.
    condition = {"observations": jnp.zeros((3, 1, 2))}
    clean_fn(jnp.ones((3, 2, 1)), times, condition)
    levels = 250 * np.log(schedule.noise / schedule.signal)
    expected = levels[[0, 4, 9]] if embedding == "edm" else times
    np.testing.assert_allclose(seen[0], expected, rtol=1e-4, atol=1e-3)


def test_a_short_plans_network_learns_and_samples():
    """The locomotion presets' network: an MLP with an edm embedding."""
    network = {"kind": "mlp", "noise_embedding": "edm", "mlp_width": 16}
    options = toy_settings(network=network, ddpm={"num_timesteps": 5})
    stage = make_stage("ddpm", options, toy_dataset())
    params = random_weights(stage)
    batch = stage.gather(stage.data, np.arange(8, dtype=np.int32))
    loss, _ = jax.jit(stage_loss(stage))(params, None, {}, batch, jax.random.key(1))
    assert np.isfinite(loss)
    for num_steps in (2, 5):
        sampler = stage.method.sampler(num_steps)
        noises = jax.random.normal(jax.random.key(2), (sampler.num_noises, 8, 4, 2))
        plans = sampler.sample(params, batch.condition, noises)
        assert plans.shape == (8, 4, 2) and np.isfinite(plans).all()
