"""Networks: sizes, the two ways to convolve, hand-written gradients, dropout."""

import functools

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax.dimensions import Dimensions
from ractd_jax.methods import RewardEnsemble
from ractd_jax.networks import (
    Compute,
    RewardModel,
    RewardModelConfig,
    TemporalUNet,
    TemporalUNetConfig,
    blocks,
    noise_embedding,
    temporal_unet,
)
from tests.toys import random_like

LOCOMOTION = (512, 1024, 2048)
TINY = TemporalUNetConfig(plan_dim=3, widths=(8, 16), embed_dim=8, num_groups=4)


@pytest.fixture(autouse=True)
def full_precision():
    with jax.default_matmul_precision("highest"):
        yield


def shapes(module, *args, **options):
    """The parameters' shapes; nothing is allocated or compiled."""
    init = functools.partial(module.init, **options)
    return jax.eval_shape(init, jax.random.key(0), *args)["params"]


def random_params(module, *args, seed=0, **options):
    """Numpy normals: initialising with jax.random would take seconds to compile."""
    return random_like(shapes(module, *args, **options), seed)


def unet_inputs(config, horizon=8, batch=2, condition_dim=5, stop=False):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(batch, horizon, config.plan_dim)).astype(np.float32)
    cond = rng.normal(size=(batch, condition_dim)).astype(np.float32)
    level = np.linspace(-900.0, 1000.0, batch, dtype=np.float32)
    inputs = (jnp.asarray(x), jnp.asarray(level), jnp.asarray(cond))
    return (*inputs, jnp.asarray(level - 50.0)) if stop else inputs


@functools.partial(jax.jit, static_argnums=0)
def pullback(function, *args):
    """(value, gradients of its product with fixed weights), in one compilation."""
    value, vjp = jax.vjp(function, *args)
    weights = jnp.cos(jnp.arange(value.size)).reshape(value.shape)
    return value, vjp(weights.astype(value.dtype))


def layer_pullback(layer, x):
    params = random_params(layer, x)
    return pullback(lambda p, x: layer.apply({"params": p}, x), params, x)


def assert_trees_close(actual, expected, **tolerances):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(
            np.asarray(a, np.float32), np.asarray(e, np.float32), **tolerances
        ),
        actual,
        expected,
    )


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


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_pinned_ends_move_their_next_steps(reach):
    """The share falls to nothing over `reach` steps; the middle stays."""
    rng = np.random.default_rng(0)
    plans = rng.normal(size=(2, 9, 3)).astype(np.float32)
    ends = rng.normal(size=(2, 6)).astype(np.float32)
    found = np.asarray(temporal_unet.pin_ends(jnp.asarray(plans), ends, reach))
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


# Errors.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": ()}, "widths must name at least one level"),
        ({"widths": (16, 12)}, "width 12 cannot be split into 8 groups"),
        ({"embed_dim": 9}, "embed_dim must be even and >= 4, not 9"),
        ({"embed_dim": 2}, "embed_dim must be even and >= 4, not 2"),
        ({"kernel_size": 4}, "kernel_size must be odd, not 4"),
    ],
)
def test_unet_config_names_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        TemporalUNetConfig(plan_dim=3, **options)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            Compute,
            {"conv": "fft"},
            "conv must be auto, matmul, lax or packed, not 'fft'",
        ),
        (Compute, {"dtype": "float16"}, "dtype must be .* not 'float16'"),
        (RewardModelConfig, {"kind": "mlp"}, "kind must be .* not 'mlp'"),
        (RewardModelConfig, {"widths": ()}, "widths must name at least one layer"),
        (
            RewardModelConfig,
            {"kind": "conv", "widths": (8, 12)},
            r"multiples of 16, not \(8, 12\)",
        ),
    ],
)
def test_other_configs_name_what_is_wrong(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_horizon_that_cannot_be_halved():
    config = TemporalUNetConfig(3, (8, 8, 8), 8)
    config.check_horizon(12)
    with pytest.raises(ValueError, match="horizon of 10 .* must be a multiple of 4"):
        config.check_horizon(10)
    with pytest.raises(ValueError, match="horizon of 10 .* must be a multiple of 4"):
        shapes(TemporalUNet(config), *unet_inputs(config, horizon=10))


def test_patches_stack_the_steps_of_a_plan():
    """Patches of 2: the network of 2 steps side by side, on half the positions."""
    wide = TemporalUNetConfig(6, (8, 16), 8)
    patched = TemporalUNetConfig(3, (8, 16), 8, patch_size=2)
    patched.check_horizon(8)
    with pytest.raises(ValueError, match="patches of 2.*multiple of 4"):
        patched.check_horizon(6)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 8, 3)).astype(np.float32)
    level, cond = np.ones(2, np.float32), np.ones((2, 5), np.float32)
    stacked = x.reshape(2, 4, 6)
    params = TemporalUNet(wide).init(jax.random.key(0), stacked, level, cond)
    expected = TemporalUNet(wide).apply(params, stacked, level, cond)
    found = TemporalUNet(patched).apply(params, x, level, cond)
    np.testing.assert_array_equal(found, np.asarray(expected).reshape(2, 8, 3))


def test_condition_and_ranks_are_checked():
    config = TemporalUNetConfig(3, (8,), 8, condition_dim=5)
    unet = TemporalUNet(config)
    shapes(unet, *unet_inputs(config, condition_dim=5))
    with pytest.raises(AssertionError, match="5"):
        shapes(unet, *unet_inputs(config, condition_dim=6))
    x, level, cond = unet_inputs(config)
    with pytest.raises(AssertionError, match="rank"):
        shapes(unet, x[0], level, cond)
    with pytest.raises(AssertionError, match="rank"):
        shapes(unet, x, level[:, None], cond)
    with pytest.raises(ValueError, match="8 channels cannot be split into 3 groups"):
        shapes(blocks.GroupNorm(3), jnp.zeros((1, 4, 8)))


# The reward model.


def pairs():
    rng = np.random.default_rng(5)
    observations, actions = rng.normal(size=(4, 5)), rng.normal(size=(4, 3))
    return jnp.asarray(observations, jnp.float32), jnp.asarray(actions, jnp.float32)


def test_conv_reward_model_reads_its_middle_tap():
    observations, actions = pairs()
    model = RewardModel(RewardModelConfig("conv", (16, 32)))
    params = random_params(model, observations, actions)
    x = np.concatenate([actions, observations], axis=-1)
    for i in range(2):
        conv, norm = params[f"block_{i}"]["conv"], params[f"block_{i}"]["norm"]
        assert conv["kernel"].shape[0] == 5
        groups = (x @ conv["kernel"][2] + conv["bias"]).reshape(4, 8, -1)
        centred = groups - groups.mean(axis=-1, keepdims=True)
        groups = centred / np.sqrt(groups.var(axis=-1, keepdims=True) + 1e-5)
        x = groups.reshape(4, -1) * norm["scale"] + norm["bias"]
        x = x * np.tanh(np.log1p(np.exp(x)))
    expected = (x @ params["head"]["kernel"] + params["head"]["bias"])[:, 0]
    found = jax.jit(model.apply)({"params": params}, observations, actions)
    assert found.shape == (4,)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["residual_mlp", "conv"])
def test_reward_ensemble_is_its_members(kind):
    observations, actions = pairs()
    model = RewardModel(RewardModelConfig(kind, (16,)))
    members = [
        random_params(model, observations, actions, seed=seed) for seed in range(3)
    ]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *members)

    def one(params):
        return model.apply({"params": params}, observations, actions)

    ours = pullback(jax.vmap(one), stacked)
    value, gradients = pullback(lambda *trees: jnp.stack([*map(one, trees)]), *members)
    gradients = jax.tree.map(lambda *leaves: np.stack(leaves), *gradients)
    assert_trees_close(ours, (value, (gradients,)), rtol=1e-4, atol=1e-5)
    ensemble = RewardEnsemble(model, Dimensions(3, 2, 1, 1), len(members))
    pessimistic = ensemble.reward_fn(stacked, 2.0)(observations, actions)
    value = np.asarray(value)
    np.testing.assert_allclose(
        pessimistic, value.mean(0) - 2.0 * value.std(0), rtol=1e-4, atol=1e-5
    )


def test_reward_model_wants_batches():
    observations, actions = pairs()
    with pytest.raises(AssertionError, match="rank"):
        shapes(RewardModel(RewardModelConfig()), observations[0], actions[0])
