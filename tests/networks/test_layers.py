"""Single layers: hand-written gradients, norms and embeddings."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.networks import (
    RewardModel,
    RewardModelConfig,
    blocks,
    noise_embedding,
)
from tests.networks.conftest import assert_trees_close, pullback

# Hand-written gradients.


def reference_mish(x):
    return x * jnp.tanh(jax.nn.softplus(x))


def test_mish_value_and_slope():
    x = np.concatenate([np.linspace(-30, 30, 601), [-1e6, -1e3, -90.0, 90.0, 1e3, 1e6]])
    x = jnp.asarray(x, jnp.float32)
    np.testing.assert_allclose(blocks.mish(x), reference_mish(x), rtol=2e-5, atol=1e-7)
    slope = jax.vmap(jax.grad(blocks.mish))(x)
    expected = jax.vmap(jax.grad(reference_mish))(x)
    np.testing.assert_allclose(slope, expected, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose([slope[-1], slope[-6]], [1.0, 0.0], atol=1e-6)
    _, tangent = jax.jvp(blocks.mish, (x,), (2.0 * jnp.ones_like(x),))
    np.testing.assert_allclose(tangent, 2.0 * slope, rtol=1e-6)


def reference_group_norm(x, scale, bias):
    layer = nn.GroupNorm(num_groups=4, epsilon=1e-5, use_fast_variance=False)
    return layer.apply({"params": {"scale": scale, "bias": bias}}, x)


def our_group_norm(x, scale, bias):
    return blocks.group_norm(x, scale, bias, 4, 1e-5)


def norm_inputs(leading=()):
    rng = np.random.default_rng(3)
    x = 5.0 + 3.0 * rng.normal(size=(*leading, 3, 6, 8))
    scale, bias = rng.normal(size=(2, *leading, 8))
    return [jnp.asarray(array, jnp.float32) for array in (x, scale, bias)]


def test_group_norm_value_and_gradients():
    args = norm_inputs()
    ours = pullback(our_group_norm, *args)
    assert_trees_close(
        ours, pullback(reference_group_norm, *args), rtol=1e-4, atol=2e-5
    )


def test_group_norm_under_vmap():
    args = norm_inputs(leading=(2,))
    ours = pullback(jax.vmap(our_group_norm), *args)
    assert_trees_close(
        ours, pullback(jax.vmap(reference_group_norm), *args), rtol=1e-4, atol=2e-5
    )


def test_group_norm_of_a_constant_is_its_bias():
    _, scale, bias = norm_inputs()
    value, gradients = pullback(our_group_norm, jnp.full((1, 6, 8), 3.0), scale, bias)
    expected = np.broadcast_to(bias, (1, 6, 8))
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in gradients)


def test_group_norm_of_bfloat16_takes_float32_statistics():
    x, scale, bias = norm_inputs()
    x = (x + 200.0).astype(jnp.bfloat16)
    y, gradients = pullback(our_group_norm, x, scale, bias)
    assert [leaf.dtype for leaf in (y, *gradients)] == ["bfloat16"] * 2 + [
        "float32"
    ] * 2
    expected = reference_group_norm(x.astype(jnp.float32), scale, bias)
    np.testing.assert_allclose(y.astype(jnp.float32), expected, rtol=1e-2, atol=1e-2)


def test_sinusoidal_embedding():
    position = np.array([-978.0, 0.0, 1.5, 1095.5], np.float32)
    frequencies = 1e4 ** (-np.arange(4) / 3)
    angles = position[:, None].astype(np.float64) * frequencies
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    found = noise_embedding.sinusoidal_embedding(jnp.asarray(position), 8)
    np.testing.assert_allclose(found, expected, atol=3e-4)


def test_fourier_features_are_the_values_and_their_waves():
    x = np.linspace(-2.0, 2.0, 12, dtype=np.float32).reshape(2, 3, 2)
    found = np.asarray(blocks.fourier_features(jnp.asarray(x), 3))
    assert found.shape == (2, 3, 2 * (1 + 2 * 3))
    np.testing.assert_array_equal(found[..., :2], x)
    angles = x[..., None] * np.pi * np.array([0.5, 1.0, 2.0])
    waves = found[..., 2:].reshape(2, 3, 2, 6)
    np.testing.assert_allclose(waves[..., :3], np.sin(angles), atol=1e-5)
    np.testing.assert_allclose(waves[..., 3:], np.cos(angles), atol=1e-5)


def test_a_reward_model_with_waves_reads_them():
    """Its first layers are 1 + 2 octaves times as high, and the sizes check out."""
    inputs = jnp.zeros((2, 4)), jnp.zeros((2, 2))
    for octaves, relative, height in ((0, False, 6), (3, False, 42), (3, True, 44)):
        config = RewardModelConfig("residual_mlp", (8,), octaves, relative)
        model = RewardModel(config)
        params = model.init(jax.random.key(0), *inputs)["params"]
        assert params["block_0_a"]["dense_in"]["kernel"].shape == (height, 8)
        assert model.apply({"params": params}, *inputs).shape == (2,)
