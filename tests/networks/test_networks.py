"""Networks: sizes, the two ways to convolve, hand-written gradients, dropout."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax.networks import (
    Compute,
    RewardModel,
    RewardModelConfig,
    TemporalUNet,
    TemporalUNetConfig,
    blocks,
    conditioning,
)
from tests.networks.conftest import (
    assert_trees_close,
    pullback,
    random_params,
    shapes,
    unet_inputs,
)

LOCOMOTION = (512, 1024, 2048)
TINY = TemporalUNetConfig(plan_dim=3, widths=(8, 16), embed_dim=8, num_groups=4)


def layer_pullback(layer, x):
    params = random_params(layer, x)
    return pullback(lambda p, x: layer.apply({"params": p}, x), params, x)


# Parameter counts of the networks in Duan et al.'s code.


@pytest.mark.parametrize(
    ("plan_dim", "condition_dim", "horizon", "widths", "embed_dim", "stop", "expected"),
    [
        (3, 11, 16, LOCOMOTION, 128, False, 248_046_211),  # hopper
        (3, 11, 16, LOCOMOTION, 128, True, 251_716_227),
        (6, 17, 16, LOCOMOTION, 128, False, 248_228_998),  # walker2d, halfcheetah
        (6, 17, 16, LOCOMOTION, 128, True, 251_899_014),
        (4, 8, 128, (256, 512, 1024), 256, True, 68_998_148),  # maze umaze
        (4, 8, 256, LOCOMOTION, 256, True, 259_367_684),  # maze medium
        (4, 8, 384, (256, 512, 1024, 2048), 256, True, 264_235_012),  # maze large
    ],
)
def test_unet_has_the_released_size(
    plan_dim, condition_dim, horizon, widths, embed_dim, stop, expected
):
    config = TemporalUNetConfig(
        plan_dim, widths, embed_dim, condition_dim=condition_dim
    )
    inputs = unet_inputs(config, horizon, 1, condition_dim, stop)
    unet = TemporalUNet(config)
    params = shapes(unet, *inputs)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected
    plan = jax.eval_shape(unet.apply, {"params": params}, *inputs)
    assert plan.shape == (1, horizon, plan_dim) and plan.dtype == jnp.float32


def test_reward_model_has_the_released_size():
    params = shapes(
        RewardModel(RewardModelConfig()), jnp.zeros((1, 11)), jnp.zeros((1, 3))
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 344_257


def test_student_differs_from_teacher_in_film_height_only():
    unet = TemporalUNet(TINY)
    teacher = jax.tree_util.tree_leaves_with_path(shapes(unet, *unet_inputs(TINY)))
    student = jax.tree_util.tree_leaves_with_path(
        shapes(unet, *unet_inputs(TINY, stop=True))
    )
    assert len(teacher) == len(student)
    for (path, ours), (other_path, theirs) in zip(teacher, student, strict=True):
        assert path == other_path
        taller = [entry.key for entry in path[-2:]] == ["film", "kernel"]
        rows = ours.shape[0] + TINY.embed_dim if taller else ours.shape[0]
        assert theirs.shape == (rows, *ours.shape[1:])


# Convolutions: as a product and as lax.conv.


@pytest.mark.parametrize(
    ("kernel_size", "stride", "length"),
    [(5, 1, 8), (3, 1, 8), (3, 2, 8), (3, 2, 7), (5, 1, 2), (1, 1, 8)],
)
def test_conv_as_product_equals_lax(kernel_size, stride, length):
    x = unet_inputs(TINY, length)[0]
    found = {
        conv: layer_pullback(blocks.Conv(4, kernel_size, stride, Compute(conv)), x)
        for conv in ("matmul", "lax")
    }
    assert found["lax"][0].shape == (2, -(-length // stride), 4)
    assert_trees_close(found["matmul"], found["lax"], rtol=1e-4, atol=1e-5)


def test_conv_transpose_as_product_equals_lax():
    x = unet_inputs(TINY)[0]
    found = {
        conv: layer_pullback(blocks.ConvTranspose(4, Compute(conv)), x)
        for conv in ("matmul", "lax")
    }
    assert found["lax"][0].shape == (2, 16, 4)
    assert_trees_close(found["matmul"], found["lax"], rtol=1e-4, atol=1e-5)


def apply_with(compute, params, inputs, **options):
    config = TemporalUNetConfig(**{**vars(TINY), "compute": compute})
    return TemporalUNet(config).apply({"params": params}, *inputs, **options)


def test_unet_as_products_equals_lax():
    inputs = unet_inputs(TINY, stop=True)
    params = random_params(TemporalUNet(TINY), *inputs)
    found = {}
    for conv in ("matmul", "lax"):
        compute = Compute(conv)
        found[conv] = pullback(
            lambda p, x, c=compute: apply_with(c, p, (x, *inputs[1:])),
            params,
            inputs[0],
        )
    norms = [np.abs(leaf).max() for leaf in jax.tree.leaves(found["lax"][1])]
    assert min(norms) > 1e-3, "every parameter takes part"
    assert_trees_close(found["matmul"], found["lax"], rtol=1e-3, atol=1e-4)


def test_auto_convolves_as_products_on_cpus_and_few_plans(monkeypatch):
    for backend, many in (("cpu", True), ("gpu", False), ("tpu", False)):
        monkeypatch.setattr(jax, "default_backend", lambda name=backend: name)
        assert Compute().uses_matmul(1_024) is many
        assert Compute().uses_matmul(1)
        assert Compute("matmul").uses_matmul(1_024)
        assert not Compute("lax").uses_matmul(1)


def test_bfloat16_computes_on_float32_params():
    inputs = unet_inputs(TINY)
    half = Compute("matmul", "bfloat16")
    config = TemporalUNetConfig(**{**vars(TINY), "compute": half})
    stored = shapes(TemporalUNet(config), *inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(stored)} == {jnp.dtype("float32")}
    params = random_params(TemporalUNet(TINY), *inputs)
    apply = jax.jit(apply_with, static_argnums=0)
    coarse, exact = apply(half, params, inputs), apply(Compute(), params, inputs)
    assert coarse.dtype == jnp.float32
    error = np.abs(coarse - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < 0.1, "near the float32 result, and not it"


def test_bfloat16_gradients_are_float32():
    found = {}
    for dtype in ("bfloat16", "float32"):
        block = blocks.ConvBlock(8, 5, 4, Compute("matmul", dtype))
        found[dtype] = layer_pullback(block, unet_inputs(TINY)[0])
    assert found["bfloat16"][0].dtype == jnp.bfloat16
    for leaf in jax.tree.leaves(found["bfloat16"][1]):
        assert leaf.dtype == jnp.float32
    assert_trees_close(found["bfloat16"][1], found["float32"][1], rtol=0.1, atol=0.1)


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_pinned_ends_move_their_next_steps(reach):
    """The share falls to nothing over `reach` steps; the middle stays."""
    rng = np.random.default_rng(0)
    plans = rng.normal(size=(2, 9, 3)).astype(np.float32)
    ends = rng.normal(size=(2, 6)).astype(np.float32)
    found = np.asarray(conditioning.pin_ends(jnp.asarray(plans), ends, reach))
    np.testing.assert_array_equal(found[:, 0], ends[:, :3])
    np.testing.assert_array_equal(found[:, -1], ends[:, 3:])
    expected = plans.copy()
    for step in range(1, 8):
        for end, distance in ((0, step), (8, 8 - step)):
            target = ends[:, :3] if end == 0 else ends[:, 3:]
            share = max(1 - distance / reach, 0) if reach else 0
            expected[:, step] += share * (target - plans[:, end])
    np.testing.assert_allclose(found[:, 1:-1], expected[:, 1:-1], atol=1e-6)


# Dropout.


def test_dropout_only_when_not_deterministic():
    config = TemporalUNetConfig(3, (8,), 8, num_groups=4, dropout_rate=0.5)
    inputs = unet_inputs(config)
    unet = TemporalUNet(config)
    plain = TemporalUNet(TemporalUNetConfig(3, (8,), 8, num_groups=4))
    params = random_params(unet, *inputs)

    @jax.jit
    def noisy(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return unet.apply({"params": params}, *inputs, deterministic=False, rngs=rngs)

    draws = jax.vmap(noisy)(jnp.array([0, 0, 1]))
    expected = jax.jit(plain.apply)({"params": params}, *inputs)
    calm = jax.jit(unet.apply)({"params": params}, *inputs)
    np.testing.assert_allclose(calm, expected, rtol=1e-6)
    assert not np.allclose(draws[0], expected, atol=1e-3)
    assert not np.allclose(draws[0], draws[2], atol=1e-3)
    np.testing.assert_allclose(draws[0], draws[1], rtol=1e-5, atol=1e-6)
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        unet.apply({"params": params}, *inputs, deterministic=False)


def test_dropout_follows_the_first_block_and_the_sum():
    block = blocks.ResidualBlock(8, 3, 4, 0.25, Compute("matmul"))
    x = jnp.asarray(np.random.default_rng(4).normal(size=(2, 32, 8)), jnp.float32)
    condition = jnp.ones((2, 5))
    params = random_params(block, x, condition, deterministic=True)
    rngs = {"dropout": jax.random.key(0)}
    calm = np.asarray(block.apply({"params": params}, x, condition, True))
    noisy = np.asarray(block.apply({"params": params}, x, condition, False, rngs=rngs))
    assert not (calm == 0.0).any()
    kept = noisy != 0.0
    assert abs(kept.mean() - 0.75) < 0.08, "dropped from the sum"
    changed = np.abs(0.75 * noisy - calm)[kept] > 1e-3
    assert changed.mean() > 0.5, "dropped before the second block too"
