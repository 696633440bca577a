"""The temporal transformer: its equation, its two forms, folded levels, and limits."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax import methods
from ractd_jax.diffusion import EdmNoise
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.networks import TemporalTransformerConfig, fold_levels, pin_ends
from ractd_jax.settings import Network
from ractd_jax.student import warm_start
from tests.mains import run_forked
from tests.toys import ctm_student, named_condition, random_params

DIMS = Dimensions(observation=5, action=2, horizon=8, history=1)
SETTINGS = Network(
    kind="transformer",
    transformer_width=12,
    transformer_blocks=2,
    transformer_heads=3,
    embed_dim=8,
    noise_embedding="edm",
    patch_size=2,
)
EDM = EdmNoise()


@pytest.fixture(scope="module")
def network():
    return methods.make_network(SETTINGS, DIMS)


def inputs(batch=3, seed=0, condition=5):
    draw = np.random.default_rng(seed).standard_normal
    return (
        np.float32(draw((batch, 8, 2))),
        np.float32(250.0 * draw(batch)),
        np.float32(draw((batch, condition))),
        np.float32(250.0 * draw(batch)),
    )


def by_hand(params, x, levels, cond):
    """The network in numpy, from its parameters: 2 blocks, 3 heads, patches of 2."""
    params = jax.tree.map(np.asarray, params)

    def dense(layer, value):
        return value @ layer["kernel"] + layer["bias"]

    def mish(value):
        return value * np.tanh(np.log1p(np.exp(value)))

    def gelu(value):
        cube = value + 0.044715 * value**3
        return 0.5 * value * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * cube))

    def embed(c_noise):
        angles = c_noise[:, None] / 1_000.0 * np.geomspace(1.0, 24.0, 4)
        waves = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
        layers = params["noise_embedding"]
        return dense(layers["dense_out"], mish(dense(layers["dense_in"], waves)))

    def modulated(value, shift, scale):
        value = value - value.mean(-1, keepdims=True)
        value = value / np.sqrt((value**2).mean(-1, keepdims=True) + 1e-6)
        return value * (1.0 + scale) + shift

    def attention(layers, value):
        query, key, read = (
            np.einsum("bpw,whd->bphd", value, layers[name]["kernel"])
            + layers[name]["bias"]
            for name in ("query", "key", "value")
        )
        scores = np.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(4)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        mixed = np.einsum("bhqk,bkhd->bqhd", weights, read)
        out = layers["out"]
        return np.einsum("bqhd,hdw->bqw", mixed, out["kernel"]) + out["bias"]

    condition = mish(np.concatenate([*map(embed, levels), cond], axis=1))
    frequencies = np.exp(-math.log(1e4) / 5 * np.arange(6))
    angles = np.arange(4)[:, None] * frequencies
    places = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    hidden = dense(params["tokens"], x.reshape(len(x), 4, -1)) + places
    for i in range(2):
        block = params[f"block_{i}"]
        rows = np.split(dense(block["film"], condition)[:, None], 6, axis=-1)
        seen = modulated(hidden, *rows[:2])
        hidden = hidden + rows[2] * attention(block["attention"], seen)
        seen = dense(block["mlp_in"], modulated(hidden, *rows[3:5]))
        hidden = hidden + rows[5] * dense(block["mlp_out"], gelu(seen))
    head = params["head"]
    rows = np.split(dense(head["film"], condition)[:, None], 2, axis=-1)
    return dense(head["out"], modulated(hidden, *rows)).reshape(x.shape)


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_network_is_its_equation(network, stage):
    params = random_params(network, DIMS, stage)
    x, level, cond, stop = inputs()
    stops = [stop] if stage == "student" else []
    found = network.apply({"params": params}, x, level, cond, *stops)
    assert found.dtype == jnp.float32
    expected = by_hand(params, x, [level, *stops], cond)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_an_untrained_network_gives_zero_and_learns(network):
    """Gates and head begin at zero, and the head's gradient is not."""
    x, level, cond, _ = inputs()
    params = network.init(jax.random.key(0), x, level, cond)["params"]

    def loss(params):
        return jnp.square(network.apply({"params": params}, x, level, cond) - x).mean()

    assert not network.apply({"params": params}, x, level, cond).any()
    slopes = jax.grad(loss)(params)
    assert np.abs(slopes["head"]["out"]["kernel"]).max() > 0.0
    moved = jax.tree.map(lambda value, slope: value - 0.1 * slope, params, slopes)
    assert loss(moved) < loss(params)


def test_warm_started_student_computes_the_teacher_for_every_stop_level(network):
    teacher = random_params(network, DIMS, "teacher")
    student = warm_start(teacher, SETTINGS.embed_dim)
    x, level, cond, stop = inputs()
    np.testing.assert_allclose(
        network.apply({"params": student}, x, level, cond, stop),
        network.apply({"params": teacher}, x, level, cond),
        rtol=1e-5,
        atol=1e-5,
    )
    expected = jax.eval_shape(ctm_student(network, DIMS).init, jax.random.key(0))
    shapes = [jax.tree.map(lambda x: x.shape, tree) for tree in (student, expected)]
    assert shapes[0] == shapes[1]


def test_folded_levels_give_the_same_jump(network):
    params = random_params(network, DIMS, "student")
    x, _, cond, _ = inputs()
    student = ctm_student(network, DIMS)
    for sigma in (80.0, 1.3):
        folded = student.fold(params, sigma)
        assert "noise_embedding" not in folded
        assert not any("film" in layer for layer in folded.values())
        arguments = sigma * x, sigma, EDM.sigma_min, named_condition(cond, DIMS)
        np.testing.assert_allclose(
            student.folded_jump_fn(folded)(*arguments),
            student.jump_fn(params)(*arguments),
            rtol=1e-4,
            atol=1e-4,
        )


@pytest.mark.parametrize("conditioning", ["ends", "both"])
def test_pinned_ends_are_seen_unscaled(conditioning):
    dims = Dimensions(observation=2, action=3, horizon=8, history=1, goal=1)
    dims = dataclasses.replace(dims, conditioning=conditioning, plans_states=True)
    network = methods.make_network(SETTINGS, dims)
    params = random_params(network, dims, "teacher")
    x, level, cond, _ = map(jnp.asarray, inputs(condition=4))
    found = network.apply({"params": params}, x, level, cond)
    pinned = pin_ends(jnp.asarray(x), jnp.asarray(cond))
    same = network.apply({"params": params}, pinned, level, cond)
    np.testing.assert_allclose(found, same, rtol=1e-5, atol=1e-5)
    folded = fold_levels(params, network.config, [250.0])
    at_level = network.apply({"params": params}, x, np.full(3, 250.0), cond)
    np.testing.assert_allclose(
        network.apply({"params": folded}, x, None, cond), at_level, atol=1e-4
    )


def test_half_precision_is_near(network):
    params = random_params(network, DIMS, "teacher")
    half = methods.make_network(dataclasses.replace(SETTINGS, dtype="bfloat16"), DIMS)
    x, level, cond, _ = inputs()
    expected = network.apply({"params": params}, x, level, cond)
    found = half.apply({"params": params}, x, level, cond)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match=r"config\.network\.transformer_width: .*130"):
        dataclasses.replace(SETTINGS, transformer_width=130)
    with pytest.raises(ValueError, match="num_heads = 4, not 10"):
        TemporalTransformerConfig(2, width=10)
    with pytest.raises(ValueError, match="conditioning must be one of"):
        TemporalTransformerConfig(2, conditioning="start")
    odd = dataclasses.replace(DIMS, horizon=7)
    with pytest.raises(ConfigError, match=r"config\.plan\.horizon: .*multiple of 2"):
        methods.make_network(SETTINGS, odd)


@pytest.mark.slow
def test_it_runs_from_training_to_an_exported_policy(tmp_path):
    """Teacher, student, evaluation and export, as the U-Net."""
    flags = (
        "--config=configs/hopper_medium.py:smoke",
        "--config.network.kind=transformer",
        "--config.network.transformer_width=16",
    )
    done = run_forked("experiments.pipeline", *flags, f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    policy = tmp_path / "policy"
    done = run_forked(
        "experiments.export", f"--checkpoint={tmp_path / 'ractd'}", f"--output={policy}"
    )
    assert done.returncode == 0, done.stderr
