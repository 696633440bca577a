"""Keys of planners and policies: what is one, and that it means the same plans."""

import copy
import os
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ractd_jax
from ractd_jax.evaluation.rollout import EpisodeKeys
from ractd_jax.planning.export import export_planner
from tests.conftest import ROOT
from tests.export.conftest import make_planner

SEED = 1_234
KEY = jax.random.key(SEED)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "policy.zip"
    export_planner(make_planner(), path)
    return path


@pytest.fixture(scope="module", params=["planner", "policy"])
def actor(request, file):
    return make_planner() if request.param == "planner" else ractd_jax.load_policy(file)


@pytest.fixture(scope="module")
def observations():
    return np.random.default_rng(1).standard_normal((2, 11), np.float32)


@pytest.mark.parametrize(
    "same",
    [
        SEED,
        np.int16(SEED),
        np.uint32(SEED),
        np.array(SEED),
        jnp.array(SEED),
        jax.random.PRNGKey(SEED),
        np.asarray(jax.random.PRNGKey(SEED)),
        jax.random.key(SEED, impl="rbg"),
        jax.random.PRNGKey(SEED, impl="unsafe_rbg"),
    ],
    ids=lambda key: f"{type(key).__name__} {getattr(key, 'dtype', '')}",
)
def test_every_kind_of_key_means_the_same_plans(actor, observations, same):
    for method in (actor.plan, actor.act):
        np.testing.assert_array_equal(
            method(observations, same), method(observations, KEY)
        )


def test_a_key_for_each_row_of_every_kind(actor, observations):
    """Two words are one legacy key, also where two plans are made; two ints are two."""
    keys = jax.random.split(KEY)
    of_seeds = jnp.stack([jax.random.key(7), jax.random.key(8)])
    for given, expected in (
        (jax.random.key_data(keys), keys),
        (np.asarray(jax.random.key_data(keys)), keys),
        ([7, 8], of_seeds),
        (np.array([7, 8]), of_seeds),
        (np.array([[0, 7], [0, 8]], np.uint32), of_seeds),
        (np.array([0, 7], np.uint32), jax.random.key(7)),
    ):
        np.testing.assert_array_equal(
            actor.act(observations, given), actor.act(observations, expected)
        )
    assert np.abs(np.diff(actor.act(observations, [7, 8]), axis=0)).max() > 0.0


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (None, "found None"),
        (1.0, "found 1.0"),
        (False, "found False"),
        ("1", "found '1'"),
        (-3, "or an int from 0 to 4294967295, found -3"),
        (2**32, "found 4294967296"),
        (10**30, "found 1000"),
        (np.zeros(2), "found float64"),
        (np.zeros(5, np.uint32), "found uint32"),
        ([KEY], "found list"),
        ([1, 2, 3], r"one key or \[2\] keys .*found shape \[3\]"),
        (np.zeros((1, 2), np.uint32), r"found shape \[1\]"),
        (jax.random.split(KEY, 3), r"found shape \[3\]"),
    ],
)
def test_what_is_no_key_is_refused_by_name(actor, observations, bad, found):
    with pytest.raises(ValueError, match=f"^key: expected .*{found}") as caught:
        actor.act(observations, bad)
    assert "\n" not in str(caught.value)


def test_plans_inside_of_jit(actor, observations):
    expected = actor.act(observations, SEED)
    for key in (KEY, SEED, jax.random.PRNGKey(SEED)):
        found = jax.jit(actor.act)(observations, key)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"observations: expected shape \[B, 11\]"):
        jax.jit(actor.act)(observations[0], KEY)


def test_a_planner_is_mapped_and_a_policy_says_that_it_cannot_be(file, observations):
    keys = jax.random.split(KEY)

    def one(actor):
        return jax.vmap(lambda x, key: actor.act(x[None], key[None])[0])(
            observations, keys
        )

    planner = make_planner()
    np.testing.assert_allclose(
        one(planner), planner.act(observations, keys), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(TypeError, match="inside vmap.* plan_fn"):
        one(ractd_jax.load_policy(file))


def test_planners_and_policies_are_pickled_and_copied(actor, observations):
    expected = actor.act(observations, KEY)
    for again in (pickle.loads(pickle.dumps(actor)), copy.deepcopy(actor)):
        np.testing.assert_array_equal(again.act(observations, KEY), expected)


def test_a_planner_that_chooses_says_how_it_travels():
    planner = make_planner()
    planner.plan_return_fn = lambda plans, condition: plans.sum(axis=(1, 2))
    with pytest.raises(TypeError, match="load_planner where it is needed, or export"):
        pickle.dumps(planner)
    assert copy.deepcopy(planner) is not None


def plans_of(file, key) -> list[np.ndarray]:
    """Of a planner that is made here and now, its policy, and an evaluation's keys."""
    x = np.random.default_rng(1).standard_normal((2, 11))
    episodes = EpisodeKeys(2, 5, "each_step")(np.arange(2), 3)
    actors = make_planner("teacher", 2), ractd_jax.load_policy(file)
    return [np.asarray(a.plan(x, k)) for a in actors for k in (key, episodes)]


def test_the_same_key_gives_the_same_plans_whatever_jax_is_told(file):
    plain = plans_of(file, jax.random.key(SEED))
    with (
        jax.enable_x64(True),
        jax.default_prng_impl("rbg"),
        jax.threefry_partitionable(False),
        jax.default_matmul_precision("highest"),
    ):
        other = plans_of(file, jax.random.key(SEED))
    for expected, found in zip(plain, other, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


_PLANS = """
import sys, jax
from tests.test_keys import SEED, plans_of

for plans in plans_of(sys.argv[1], jax.random.key(SEED)):
    print(plans.dtype, plans.tobytes().hex())
"""


@pytest.mark.slow
def test_nor_whatever_its_environment_says(file):
    done = subprocess.run(
        [sys.executable, "-c", _PLANS, file],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JAX_ENABLE_X64": "1",
            "JAX_DEFAULT_PRNG_IMPL": "rbg",
            "JAX_THREEFRY_PARTITIONABLE": "0",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    expected = plans_of(file, jax.random.key(SEED))
    assert done.stdout.splitlines() == [
        f"float32 {plans.tobytes().hex()}" for plans in expected
    ]
