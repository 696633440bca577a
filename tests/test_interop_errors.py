"""Weights under the PyTorch names: configs read off shapes, and what is refused."""

import jax
import numpy as np
import pytest

from ractd_jax.errors import CheckpointError
from ractd_jax.interop.torch_weights import convert_state_dict
from ractd_jax.networks import TemporalUNet
from tests.torch_states import layer_shapes, random_state, small_state

REFUSAL = r"array .[\w.]+. |kernel_size must be odd"
STAGES = ("teacher", "student", "reward")


def assert_converted_alike(state, expected, stage):
    (config, params), (other_config, other_params) = (
        convert_state_dict(arrays, stage) for arrays in (state, expected)
    )
    assert config == other_config
    jax.tree.map(np.testing.assert_array_equal, params, other_params)


@pytest.mark.parametrize("stage", ["teacher", "student"])
@pytest.mark.parametrize(
    ("widths", "embed", "plan_dim", "cond_dim", "taps"),
    [((8,), 8, 3, 11, 5), ((16, 8, 24), 12, 4, 8, 3), ((8, 8), 16, 8, 1, 7)],
)
def test_config_is_read_off_the_shapes(stage, widths, embed, plan_dim, cond_dim, taps):
    state = small_state(stage, widths, embed, plan_dim, cond_dim, taps)
    config, params = convert_state_dict(state, stage)
    found = (config.widths, config.embed_dim, config.plan_dim)
    assert found == (widths, embed, plan_dim)
    assert (config.condition_dim, config.kernel_size) == (cond_dim, taps)
    level = np.zeros(1, np.float32)
    inputs = np.zeros((1, 8, plan_dim)), level, np.zeros((1, cond_dim))
    inputs += (level,) if stage == "student" else ()
    init = TemporalUNet(config).init
    expected = jax.eval_shape(init, jax.random.key(0), *inputs)["params"]
    assert jax.tree.structure(params) == jax.tree.structure(expected)
    assert [leaf.shape for leaf in jax.tree.leaves(params)] == [
        leaf.shape for leaf in jax.tree.leaves(expected)
    ]
    assert sum(array.size for array in state.values()) == sum(
        leaf.size for leaf in jax.tree.leaves(params)
    )


@pytest.mark.parametrize("stage", STAGES)
def test_model_prefix_changes_nothing(stage):
    state = small_state(stage)
    prefixed = {f"model.{name}": array for name, array in state.items()}
    assert_converted_alike(prefixed, state, stage)


@pytest.mark.parametrize("unused", ["time_mlp", "diffusion_step_encoder"])
def test_unused_time_mlp_of_a_reward_model_is_ignored(unused):
    state = small_state("reward")
    extra = layer_shapes(f"{unused}.1", 32, 8) | layer_shapes(f"{unused}.3", 8, 32)
    assert_converted_alike(state | random_state(extra), state, "reward")


# Errors.


def is_first_of_level(name):
    """Whether conversion finds out by this array that its level is there."""
    path = name.split(".", 2)[-1]
    return path in ("0.blocks.0.block.0.weight", "0.blocks.0.weight")


def assert_named_when_missing_or_flat(state, name, stage):
    rest = {key: value for key, value in state.items() if key != name}
    with pytest.raises(CheckpointError, match=f"array '{name}' is missing"):
        convert_state_dict(rest, stage)
    for wrong in (state[name][None], state[name].sum()):
        with pytest.raises(CheckpointError, match=f"array '{name}' has shape"):
            convert_state_dict(state | {name: wrong}, stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_missing_array_is_named(stage):
    state = small_state(stage)
    for name in state:
        if not is_first_of_level(name):
            assert_named_when_missing_or_flat(state, name, stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_missing_first_array_of_a_level_is_named(stage):
    state = small_state(stage)
    for name in filter(is_first_of_level, state):
        assert_named_when_missing_or_flat(state, name, stage)


@pytest.mark.parametrize("stage", STAGES)
def test_an_array_of_wrong_size_is_refused(stage):
    state = small_state(stage)
    for name, array in state.items():
        for axis in range(array.ndim):
            twice = np.concatenate([array, array], axis)
            with pytest.raises((CheckpointError, ValueError), match=REFUSAL):
                convert_state_dict(state | {name: twice}, stage)


def test_wrong_shape_says_what_was_expected():
    state = small_state("teacher")
    name = "mid_modules.0.blocks.1.block.0.weight"
    with pytest.raises(CheckpointError) as caught:
        convert_state_dict(state | {name: state[name][:, :, :2]}, "teacher")
    assert f"array '{name}' has shape (16, 16, 2), expected" in str(caught.value)
    assert "(16, 16, 3)" in str(caught.value)


@pytest.mark.parametrize("stage", STAGES)
def test_unexpected_array_is_named(stage):
    extra = {"value_head.weight": np.zeros((1, 8), np.float32)}
    with pytest.raises(CheckpointError, match="array 'value_head.weight' is not exp"):
        convert_state_dict(small_state(stage) | extra, stage)


def test_wrong_roles():
    teacher, student, reward = map(small_state, STAGES)
    with pytest.raises(ValueError, match="stage must be .* not 'critic'"):
        convert_state_dict(teacher, "critic")
    with pytest.raises(CheckpointError, match="cond_encoder.1.weight.* is the stage"):
        convert_state_dict(teacher, "student")
    with pytest.raises(CheckpointError, match="'blocks.0.0.blocks.0.weight' is miss"):
        convert_state_dict(teacher, "reward")
    with pytest.raises(CheckpointError, match="'down_modules.0.0.* is missing"):
        convert_state_dict(reward, "student")
    # A student's shapes are also those of a teacher with a longer condition.
    config, _ = convert_state_dict(student, "teacher")
    assert config.condition_dim == 5 + 8


def test_widths_that_groups_do_not_divide():
    state = small_state("teacher", widths=(8, 12))
    with pytest.raises(
        (CheckpointError, ValueError), match="width 12 cannot be split into 8 groups"
    ):
        convert_state_dict(state, "teacher")
