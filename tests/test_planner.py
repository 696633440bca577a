"""Planners, closed-loop evaluation and statistics, on the smoke run."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import ractd_jax
from benchmarks.common import made_up_dataset, random_planner
from ractd_jax.compilation_cache import use_compilation_cache
from ractd_jax.errors import CheckpointError, ConfigError, DataError
from ractd_jax.evaluation.latency import one_core, plan_latency
from ractd_jax.evaluation.results import EpisodeResults, load_results, save_results
from ractd_jax.evaluation.rollout import evaluate_planner
from ractd_jax.planning import Planner
from ractd_jax.reports.statistics import (
    bootstrap_interval,
    normalized_score,
    summarize,
    two_mode_threshold,
)
from ractd_jax.settings import Environment, from_mapping
from ractd_jax.storage.checkpoint import StoredModel
from ractd_jax.storage.trained import load_rating
from ractd_jax.student import sample_one_step
from ractd_jax.tasks.environments import make_environment


@pytest.fixture(scope="module")
def student(smoke_run):
    return ractd_jax.load_planner(smoke_run / "ractd")


@pytest.fixture(scope="module")
def observations():
    return np.random.default_rng(0).standard_normal((4, 11)).astype(np.float32)


def test_plans_are_in_the_environments_units(student, observations):
    key = jax.random.key(0)
    plans = student.plan(observations, key)
    assert plans.shape == (4, 4, 3) and student.nfe == 1
    np.testing.assert_allclose(
        student.act(observations, key), plans[:, 0], rtol=1e-5, atol=1e-6
    )
    assert np.abs(plans).max() <= 1.0 + 1e-5


def test_one_step_plan_is_the_jump_of_its_noise(student, observations):
    """The planner against its parts: normalise, jump from sigma_max, clip, undo."""
    key = jax.random.key(3)
    keys = jax.random.split(key, 4)
    noise = jax.vmap(lambda k: jax.random.normal(k, (1, 4, 3)))(keys)[:, 0]
    normalized = student.observation_normalizer.normalize(observations)
    condition = {"observations": normalized[:, None]}
    jump_fn = student.method.jump_fn(student.params)
    x = sample_one_step(
        lambda x, sigma, stop: jump_fn(x, sigma, stop, condition),
        0.1 * 80.0 * noise,  # the preset's temperature
        student.method.edm,
    )
    expected = student.action_normalizer.unnormalize(np.clip(x, -1, 1))
    np.testing.assert_allclose(
        student.plan(observations, key), expected, rtol=1e-4, atol=1e-5
    )


def test_the_best_of_several_candidates_by_the_students_reward_model(
    smoke_run, student, observations
):
    """Each candidate sampled alone, rated by the members that trained the student."""
    planner = ractd_jax.load_planner(smoke_run / "ractd", num_candidates=4)
    options = student.settings.student
    metadata = StoredModel(smoke_run / "ractd").metadata
    ensemble, params, _ = load_rating(
        smoke_run / "reward", student.settings, metadata, options.num_members
    )
    plan_return_fn = ensemble.plan_return_fn(params, options.pessimism)
    condition = student.condition(observations)
    keys = jax.random.split(jax.random.key(3), 4)
    noises = jax.vmap(lambda key: jax.random.normal(key, (4, 1, 4, 3)))(keys)
    sampler = student.sampler_of(student.method.network)
    weights, sample = sampler.prepare(student.params), jax.jit(sampler.sample)
    candidates = np.stack(
        [sample(weights, condition, noises[:, i].swapaxes(0, 1)) for i in range(4)]
    )
    returns = np.stack([plan_return_fn(plans, condition) for plans in candidates])
    best = candidates[returns.argmax(axis=0), np.arange(4)]
    np.testing.assert_allclose(
        planner.plan(observations, keys),
        student.action_normalizer.unnormalize(best),
        rtol=1e-4,
        atol=1e-5,
    )
    with pytest.raises(CheckpointError, match="ctd: 4 candidates need a reward model"):
        ractd_jax.load_planner(smoke_run / "ctd", num_candidates=4)


def test_a_plan_does_not_depend_on_its_batch(student, observations):
    keys = jax.random.split(jax.random.key(1), 4)
    together = student.act(observations, keys)
    alone = student.act(observations[2:3], keys[2:3])
    np.testing.assert_allclose(together[2:3], alone, rtol=1e-4, atol=1e-5)
    again = student.act(observations, keys)
    np.testing.assert_array_equal(together, again)


def test_each_batch_size_compiles_once(student, observations):
    before = student._many._cache_size()
    for seed in range(3):
        student.act(np.repeat(observations[:1], 7, 0), jax.random.key(seed))
    assert student._many._cache_size() == before + 1


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(11), r"expected shape \[B, 11\], found \[11\]"),
        (np.zeros((2, 12)), r"expected shape \[B, 11\], found \[2, 12\]"),
        (np.zeros((0, 11)), r"found \[0, 11\]"),
        (np.full((1, 11), np.nan), "finite"),
    ],
)
def test_bad_observations_are_refused(student, bad, message):
    for method in (student.act, student.plan):
        with pytest.raises(ValueError, match=message):
            method(bad, jax.random.key(0))


def test_large_observations_are_finite(student):
    """Their squares are not."""
    plans = student.plan(np.full((1, 11), 1e30), jax.random.key(0))
    assert np.isfinite(plans).all()


def test_wrong_number_of_keys_is_refused(student, observations):
    with pytest.raises(ValueError, match=r"one key or \[4\] keys"):
        student.act(observations, jax.random.split(jax.random.key(0), 3))


def test_a_bfloat16_network_stores_bfloat16_kernels(smoke_run):
    """Half the memory to read at each plan, and the products' factors are the same."""
    stored = ractd_jax.load_planner(smoke_run / "ctd")
    settings = from_mapping({"network": {"dtype": "bfloat16"}}, stored.settings)
    planner = Planner(
        settings,
        stored.dims,
        "student",
        stored.params,
        stored.observation_normalizer,
        stored.action_normalizer,
        num_steps=1,
    )
    kernels = [leaf for leaf in jax.tree.leaves(planner.weights) if leaf.ndim > 1]
    assert kernels and {leaf.dtype for leaf in kernels} == {jnp.dtype("bfloat16")}
    x = jnp.ones((1, *stored.dims.plan_shape))
    levels, condition = jnp.ones(1), jnp.ones((1, stored.dims.condition))
    once, every_call = (
        planner.method.network.apply({"params": params}, x, levels, condition, levels)
        for params in (planner.params, stored.params)
    )
    np.testing.assert_allclose(once, every_call, atol=1e-6)


def test_more_steps_of_either_sampler(smoke_run, observations):
    for folder, steps, nfe in (("ractd", 3, 3), ("teacher", 2, 4)):
        planner = ractd_jax.load_planner(smoke_run / folder, num_steps=steps)
        plans = planner.plan(observations, jax.random.key(0))
        assert planner.nfe == nfe and np.isfinite(plans).all()
    with pytest.raises(ValueError, match="num_steps"):
        ractd_jax.load_planner(smoke_run / "ractd", num_steps=0)
    default = ractd_jax.load_planner(smoke_run / "teacher")
    assert (default.num_steps, default.nfe) == (3, 6)  # evaluation.teacher_steps


def test_other_stages_do_not_load_as_planners(smoke_run, tmp_path):
    with pytest.raises(CheckpointError, match="found one of 'reward'"):
        ractd_jax.load_planner(smoke_run / "reward")
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        ractd_jax.load_planner(tmp_path)


def test_evaluation_is_the_environments_own_sum(student):
    """Each episode replayed alone in a plain environment gives the same return."""
    results = evaluate_planner(student, Environment("Hopper-v5"), 3, seed=50)
    assert results.seeds.tolist() == [50, 51, 52] and (results.lengths > 0).all()
    for episode in range(3):
        env = make_environment(Environment("Hopper-v5"))
        observation, _ = env.reset(seed=50 + episode)
        key = jax.random.fold_in(jax.random.key(50), episode)
        total, best, running, done, step = 0.0, -np.inf, 0.0, False, 0
        while not done:
            keys = jax.random.fold_in(key, step)[None]
            action = student.act(observation[None].astype(np.float32), keys)[0]
            observation, reward, terminated, truncated, _ = env.step(action)
            total, best, step = total + reward, max(best, reward), step + 1
            running += best
            done = terminated or truncated
        assert step == results.lengths[episode]
        np.testing.assert_allclose(results.returns[episode], total, rtol=1e-3)
        np.testing.assert_allclose(
            results.running_max_returns[episode], running, rtol=1e-3
        )
    assert (results.running_max_returns >= results.returns - 1e-9).all()


def test_noise_drawn_once_for_each_episode(student, monkeypatch):
    """The keys that the planner gets: one per episode, or one per episode and step."""
    seen = {}
    for noise in ("each_step", "each_episode"):
        keys = []

        def act(observations, key, keys=keys):
            keys.append(jax.random.key_data(key))
            return np.zeros((len(observations), 3), np.float32)

        monkeypatch.setattr(student, "act", act)
        evaluate_planner(student, Environment("Hopper-v5"), 2, seed=50, noise=noise)
        seen[noise] = np.array([k[0] for k in keys if len(k) == 2])
    assert len(np.unique(seen["each_episode"], axis=0)) == 1
    # The call that compiles ahead of the loop shares step 0's key.
    assert len(np.unique(seen["each_step"], axis=0)) == len(seen["each_step"]) - 1


def test_an_environment_of_other_shapes_is_refused(student):
    with pytest.raises(ConfigError, match="11-dimensional observations"):
        evaluate_planner(student, Environment("Walker2d-v5"), 1, seed=0)
    with pytest.raises(ConfigError, match="Hoper"):
        evaluate_planner(student, Environment("Hoper-v5"), 1, seed=0)


def made_up_results(returns):
    returns = np.asarray(returns, np.float64)
    count = np.arange(len(returns))
    return EpisodeResults(returns, count + 1, count, 1.5 * returns, 2.0)


def test_results_survive_the_disk_and_damage_is_named(tmp_path):
    results = made_up_results([1.0, 2.5])
    save_results(tmp_path / "a/b.npz", results)
    loaded = load_results(tmp_path / "a/b.npz")
    for name, value in results._asdict().items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
    (tmp_path / "a/b.npz").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(DataError, match="b.npz"):
        load_results(tmp_path / "a/b.npz")


def test_scores_and_interval():
    environment = Environment(score_min=-20.272305, score_max=3234.3)
    np.testing.assert_allclose(
        normalized_score(np.array([-20.272305, 3234.3]), environment), [0, 100]
    )
    values = np.random.default_rng(0).normal(50.0, 10.0, 100)
    low, high = bootstrap_interval(values)
    reference = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    np.testing.assert_allclose([low, high], reference, atol=0.25)
    summary = summarize(made_up_results([0.0, 3000.0]), environment)
    np.testing.assert_allclose(summary["score_mean"], 46.712, atol=1e-3)
    np.testing.assert_allclose(summary["running_max_score"], 69.756, atol=1e-3)
    assert summary["env_steps_per_s"] == 1.5


def test_two_mode_threshold_splits_where_the_gap_is():
    assert two_mode_threshold(np.array([1.0, 1.2, 0.9, 9.0, 9.5])) == 5.1
    assert two_mode_threshold(np.array([2.0, 2.0])) == 2.0


def test_latency_is_measured_per_call(student):
    timing = plan_latency(student, 5)
    assert 0.0 < timing["p50"] <= timing["p95"] < 5.0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_one_core_pins_every_thread_and_gives_the_cores_back():
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError):
        with one_core():
            threads = [int(thread) for thread in os.listdir("/proc/self/task")]
            assert all(len(os.sched_getaffinity(t)) == 1 for t in threads)
            raise KeyError
    assert all(os.sched_getaffinity(thread) == before for thread in threads)


# --- ahead of the first call


@pytest.mark.slow
def test_warmup_compiles_what_a_loop_calls():
    dataset = made_up_dataset()
    planner = random_planner((8, 16), dataset)
    assert planner.warmup([1, 3]) is planner
    compiled = planner._many._cache_size()
    assert compiled == 2
    for size in (1, 3):
        planner.act(np.zeros((size, 11), np.float32), jax.random.key(1))
    assert planner._many._cache_size() == compiled
    with pytest.raises(ValueError, match="batch_sizes: expected at least 1, found 0"):
        planner.warmup([0])


@pytest.mark.parametrize("given", [None, "elsewhere"])
def test_the_compilation_cache_lies_in_the_users_folder_by_default(
    given, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    try:
        jax.config.update(names[0], given)
        use_compilation_cache()
        expected = given or f"{tmp_path}/ractd_jax/xla"
        assert jax.config.jax_compilation_cache_dir == expected
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
