"""What networks refuse by name, patches, and the reward models' inputs."""

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
)
from tests.networks.conftest import (
    assert_trees_close,
    pullback,
    random_params,
    shapes,
    unet_inputs,
)

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
