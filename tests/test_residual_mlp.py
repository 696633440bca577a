"""The residual MLP: its two forms, folded levels, limits, and packing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax import methods
from ractd_jax.diffusion import EdmNoise, bin_sigmas
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.networks import Compute, ResidualMLP, ResidualMLPConfig
from ractd_jax.networks.noise_embedding import NoiseEmbedding
from ractd_jax.planning.packed import packed_network
from ractd_jax.settings import Network
from ractd_jax.student import warm_start
from tests.toys import (
    ctm_student,
    named_condition,
    random_params,
)

DIMS = Dimensions(observation=5, action=2, horizon=4, history=1)
SETTINGS = Network(
    kind="mlp", mlp_width=16, mlp_blocks=2, embed_dim=8, noise_embedding="edm"
)
EDM = EdmNoise()


@pytest.fixture(scope="module")
def network():
    return methods.make_network(SETTINGS, DIMS)


def inputs(batch=3, seed=0):
    rng = np.random.default_rng(seed)
    draw = rng.standard_normal
    return (
        np.float32(draw((batch, 4, 2))),
        np.float32(250.0 * draw(batch)),
        np.float32(draw((batch, 5))),
        np.float32(250.0 * draw(batch)),
    )


def by_hand(params, x, levels, cond):
    """The network in numpy, from its parameters."""

    def dense(layer, value):
        return value @ np.asarray(layer["kernel"]).reshape(
            -1, layer["bias"].shape[0]
        ) + np.asarray(layer["bias"])

    def norm(layer, value):
        value = value - value.mean(-1, keepdims=True)
        value = value / np.sqrt((value**2).mean(-1, keepdims=True) + 1e-6)
        return value * np.asarray(layer["scale"]) + np.asarray(layer["bias"])

    def silu(value):
        return value / (1.0 + np.exp(-value))

    def mish(value):
        return value * np.tanh(np.log1p(np.exp(value)))

    def embed(c_noise):
        frequencies = np.geomspace(1.0, 24.0, 4)
        angles = c_noise[:, None] / 1_000.0 * frequencies
        waves = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
        layers = params["noise_embedding"]
        return dense(layers["dense_out"], mish(dense(layers["dense_in"], waves)))

    parts = [*map(embed, levels), x.reshape(len(x), -1), cond]
    hidden = dense(params["dense_in"], np.concatenate(parts, axis=1))
    for i in range(2):
        inner = dense(params[f"block_{i}_in"], norm(params[f"block_{i}_norm"], hidden))
        hidden = hidden + dense(params[f"block_{i}_out"], silu(inner))
    out = dense(params["head"], silu(norm(params["norm_out"], hidden)))
    return out.reshape(x.shape)


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_network_is_its_equation(network, stage):
    params = random_params(network, DIMS, stage)
    x, level, cond, stop = inputs()
    stops = [stop] if stage == "student" else []
    found = network.apply({"params": params}, x, level, cond, *stops)
    np.testing.assert_allclose(
        found, by_hand(params, x, [level, *stops], cond), rtol=1e-4, atol=1e-5
    )


def test_warm_started_student_computes_the_teacher_for_every_stop_level(network):
    teacher = random_params(network, DIMS, "teacher")
    student = warm_start(teacher, SETTINGS.embed_dim)
    x, level, cond, stop = inputs()
    np.testing.assert_allclose(
        network.apply({"params": student}, x, level, cond, stop),
        network.apply({"params": teacher}, x, level, cond),
        rtol=1e-5,
        atol=1e-6,
    )
    expected = jax.eval_shape(ctm_student(network, DIMS).init, jax.random.key(0))
    shapes = [jax.tree.map(lambda x: x.shape, tree) for tree in (student, expected)]
    assert shapes[0] == shapes[1]


def test_folded_levels_give_the_same_jump(network):
    params = random_params(network, DIMS, "student")
    x, _, cond, _ = inputs()
    for sigma in (80.0, 1.3):
        folded = ctm_student(network, DIMS).fold(params, sigma)
        assert "noise_embedding" not in folded
        expected = ctm_student(network, DIMS).jump_fn(params)
        found = ctm_student(network, DIMS).folded_jump_fn(folded)
        named = named_condition(cond, DIMS)
        arguments = sigma * x, sigma, EDM.sigma_min, named
        np.testing.assert_allclose(
            found(*arguments), expected(*arguments), rtol=1e-4, atol=1e-5
        )


def test_edm_embedding_tells_neighbouring_levels_apart():
    """250 ln sigma of the 80 levels of the grid; no two embeddings nearly agree."""
    sigmas = np.asarray(bin_sigmas(80, EDM))[:80]
    embed = NoiseEmbedding(16, Compute(), "edm")
    params = embed.init(jax.random.key(0), jnp.zeros(1))
    found = embed.apply(params, 250.0 * jnp.log(jnp.asarray(sigmas)))
    gaps = np.linalg.norm(np.diff(found, axis=0), axis=1)
    assert gaps.min() > 1e-3 and np.isfinite(found).all()
    # Smooth: a level half a bin away is nearer than the next bin.
    middle = embed.apply(params, 250.0 * jnp.log(jnp.sqrt(sigmas[:-1] * sigmas[1:])))
    assert (np.linalg.norm(middle - found[:-1], axis=1) < gaps).all()


def test_long_plans_and_pinned_ends_are_refused():
    long = dataclasses.replace(DIMS, horizon=512)
    with pytest.raises(
        ConfigError, match=r"config.plan.horizon: .* 1024 numbers.*at most 512"
    ):
        methods.make_network(SETTINGS, long)
    pinned = dataclasses.replace(DIMS, plans_states=True, conditioning="both")
    with pytest.raises(ConfigError, match="config.plan.conditioning: expected 'film'"):
        methods.make_network(SETTINGS, pinned)


def test_packed_kernels_give_nearly_the_same_plans():
    """Layers wide enough are read in bfloat16, as the U-Net's are."""
    config = ResidualMLPConfig((4, 2), width=1_280, num_blocks=1, embed_dim=8)
    network = ResidualMLP(config)
    params = random_params(network, DIMS, "student")
    folded = ctm_student(network, DIMS).fold(params, 80.0)
    found = packed_network(network, folded, DIMS, 1)
    assert found is not None
    packed, packed_params = found
    dtypes = {leaf.dtype.name for leaf in jax.tree.leaves(packed_params)}
    assert dtypes == {"float32", "bfloat16"}
    x, _, cond, _ = inputs(batch=1)
    expected = network.apply({"params": folded}, x, None, cond)
    out = packed.apply({"params": packed_params}, x, None, cond)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(out, expected, atol=0.02 * scale)
    assert np.abs(out - expected).max() > 0.0
