"""Weights under the PyTorch names of Duan et al.'s code: parity, conversion, errors.

`../shared/parity` holds numbers of the released networks, and is not part of the
repository. The other tests need nothing of it: random state dicts made here from names
and shapes alone go through the conversion and must give what a plain numpy statement
of the released networks gives.
"""

from pathlib import Path

import jax
import numpy as np
import pytest

from ractd_jax import diffusion
from ractd_jax.interop.torch_weights import convert_state_dict
from ractd_jax.networks import Compute, RewardModel, TemporalUNet
from ractd_jax.student import jump
from tests.torch_states import planner_shapes, reward_shapes, small_state

PARITY = Path(__file__).parents[2] / "shared" / "parity"
EDM = diffusion.EdmNoise()


@pytest.fixture(autouse=True)
def full_precision():
    with jax.default_matmul_precision("highest"):
        yield


# The released forward passes in numpy: [B, C, H], loops over taps, float64.


def column(sigma):
    return sigma[:, None, None]


def mish(x):
    return x * np.tanh(np.logaddexp(0.0, x))


class Released:
    """The released networks, read straight from a state dict."""

    def __init__(self, state):
        self.state = {name: array.astype(float) for name, array in state.items()}

    def arrays(self, name):
        return self.state[f"{name}.weight"], self.state[f"{name}.bias"]

    def linear(self, name, x):
        weight, bias = self.arrays(name)
        return x @ weight.T + bias

    def conv(self, name, x, stride=1):
        weight, bias = self.arrays(name)
        taps, length = weight.shape[2], x.shape[2]
        y = np.zeros((len(x), len(weight), length // stride))
        for position in range(y.shape[2]):
            for tap in range(taps):
                source = position * stride + tap - taps // 2
                if 0 <= source < length:
                    y[:, :, position] += x[:, :, source] @ weight[:, :, tap].T
        return y + bias[:, None]

    def conv_transpose(self, name, x):
        weight, bias = self.arrays(name)
        length = x.shape[2]
        y = np.zeros((len(x), weight.shape[1], 2 * length))
        for source in range(length):
            for tap in range(4):
                position = 2 * source + tap - 1
                if 0 <= position < 2 * length:
                    y[:, :, position] += x[:, :, source] @ weight[:, :, tap]
        return y + bias[:, None]

    def conv_block(self, name, x):
        x = self.conv(f"{name}.block.0", x)
        grouped = x.reshape(len(x), 8, -1)
        mean = grouped.mean(axis=2, keepdims=True)
        std = np.sqrt(grouped.var(axis=2, keepdims=True) + 1e-5)
        scale, bias = self.arrays(f"{name}.block.1")
        normed = ((grouped - mean) / std).reshape(x.shape)
        return mish(normed * scale[:, None] + bias[:, None])

    def residual(self, name, x, condition):
        film = self.linear(f"{name}.cond_encoder.1", mish(condition))
        scale, bias = np.split(film[:, :, None], 2, axis=1)
        y = scale * self.conv_block(f"{name}.blocks.0", x) + bias
        y = self.conv_block(f"{name}.blocks.1", y)
        if f"{name}.residual_conv.weight" in self.state:
            x = self.conv(f"{name}.residual_conv", x)
        return y + x

    def embedding(self, c_noise):
        half = self.arrays("diffusion_step_encoder.1")[0].shape[1] // 2
        angles = c_noise[:, None] * 1e4 ** (-np.arange(half) / (half - 1))
        x = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
        x = mish(self.linear("diffusion_step_encoder.1", x))
        return self.linear("diffusion_step_encoder.3", x)

    def planner(self, x, levels, cond):
        """x [B, H, D], one or two noise inputs [B], cond [B, C]."""
        condition = np.concatenate([*map(self.embedding, levels), cond], axis=1)
        x, skips, i = x.transpose(0, 2, 1), [], 0
        while f"down_modules.{i}.0.blocks.0.block.0.weight" in self.state:
            if i:
                x = self.conv(f"down_modules.{i - 1}.2.conv", x, stride=2)
            for j in range(2):
                x = self.residual(f"down_modules.{i}.{j}", x, condition)
            skips.append(x)
            i += 1
        for j in range(2):
            x = self.residual(f"mid_modules.{j}", x, condition)
        for i in range(len(skips) - 1):
            x = np.concatenate([x, skips.pop()], axis=1)
            for j in range(2):
                x = self.residual(f"up_modules.{i}.{j}", x, condition)
            x = self.conv_transpose(f"up_modules.{i}.2.conv", x)
        x = self.conv("final_conv.1", self.conv_block("final_conv.0", x))
        return x.transpose(0, 2, 1)

    def clean(self, x, sigmas, cond):
        """c_skip x + c_out F(c_in x, 250 ln sigma): of one level D, of two levels g."""
        shifted = column(sigmas[0]) - 0.02
        norm = np.sqrt(column(sigmas[0]) ** 2 + 0.25)
        raw = self.planner(x / norm, [250 * np.log(sigma) for sigma in sigmas], cond)
        return 0.25 / (shifted**2 + 0.25) * x + 0.5 * shifted / norm * raw

    def jump(self, x, sigma, stop, cond):
        ratio = column(stop / sigma)
        return ratio * x + (1 - ratio) * self.clean(x, [sigma, stop], cond)

    def heun(self, x, sigma, following, cond):
        slope = (x - self.clean(x, [sigma], cond)) / column(sigma)
        guess = x + column(following - sigma) * slope
        other = (guess - self.clean(guess, [following], cond)) / column(following)
        return x + column(following - sigma) * (slope + other) / 2

    def reward(self, x):
        i = 0
        while f"blocks.{i}.0.blocks.0.weight" in self.state:
            for j in range(2):
                name = f"blocks.{i}.{j}"
                y = mish(self.linear(f"{name}.blocks.0", x))
                if f"{name}.residual_linear.weight" in self.state:
                    x = self.linear(f"{name}.residual_linear", x)
                x = self.linear(f"{name}.blocks.2", y) + x
            i += 1
        return self.linear("final_linear", x)


# Our side.


def network(state, stage, conv="matmul"):
    """The converted network as a compiled function of (x, c_noise, cond, ...)."""
    config, params = convert_state_dict(state, stage)
    config = type(config)(**{**vars(config), "compute": Compute(conv)})
    apply = jax.jit(TemporalUNet(config).apply)
    return lambda *inputs: apply({"params": params}, *inputs)


def denoiser(network_fn, cond):
    return lambda x, sigma: diffusion.denoise(
        lambda scaled, c_noise: network_fn(scaled, c_noise, cond), x, sigma, EDM
    )


def jumper(network_fn, cond):
    return lambda x, sigma, stop: jump(
        lambda scaled, *levels: network_fn(scaled, levels[0], cond, levels[1]),
        x,
        sigma,
        stop,
        EDM,
    )


def assert_same(ours, expected, tolerance=1e-4):
    assert ours.shape == expected.shape
    error = np.abs(np.asarray(ours) - expected).max() / np.abs(expected).max()
    assert error < tolerance


# Parity with the released networks.

needs_parity = pytest.mark.skipif(
    not PARITY.is_dir(), reason=f"no parity vectors in {PARITY}"
)


def parity(name, prefix=None):
    with np.load(PARITY / f"{name}.npz") as stored:
        if prefix is None:
            return {key: stored[key] for key in stored.files if "/" not in key}
        keys = [key for key in stored.files if key.startswith(f"{prefix}/")]
        return {key.removeprefix(f"{prefix}/"): stored[key] for key in keys}


@needs_parity
def test_parity_schedule():
    expected = parity("schedule")["sigmas"]
    sigmas = np.asarray(diffusion.bin_sigmas(80, EDM))
    np.testing.assert_allclose(sigmas, expected, rtol=1e-4)
    grid = diffusion.karras_sigmas(80, EDM)
    np.testing.assert_allclose(grid, expected[:80], rtol=1e-4)


@needs_parity
@pytest.mark.parametrize("conv", ["matmul", "lax"])
def test_parity_teacher(conv):
    known = parity("planner_hopper_small")
    cond = known["cond"]
    teacher = network(parity("planner_hopper_small", "teacher"), "teacher", conv)
    raw = teacher(known["x"], known["log_time"], cond)
    assert_same(raw, known["teacher_raw"])

    denoise_fn = denoiser(teacher, cond)
    x_t, sigma = known["x_t"], known["sigma"]
    assert_same(denoise_fn(x_t, sigma), known["denoised"])
    following = diffusion.heun_step(denoise_fn, x_t, sigma, known["heun_next_sigma"])
    assert_same(following, known["heun_next"])


@needs_parity
@pytest.mark.parametrize("conv", ["matmul", "lax"])
def test_parity_student(conv):
    known = parity("planner_hopper_small")
    cond = known["cond"]
    student = network(parity("planner_hopper_small", "student"), "student", conv)
    raw = student(known["x"], known["log_time"], cond, known["log_stop"])
    assert_same(raw, known["student_raw"])
    levels = known["sigma"], known["sigma_stop"]
    jumped = jumper(student, cond)(known["x_t"], *levels)
    assert_same(jumped, known["jump"])


@needs_parity
def test_parity_reward():
    known = parity("reward_linear")
    config, params = convert_state_dict(parity("reward_linear", "reward"), "reward")
    assert config.widths == (64, 128, 256)
    apply = jax.jit(RewardModel(config).apply)
    found = apply({"params": params}, known["x"][:, 3:], known["x"][:, :3])
    assert_same(found, known["out"][:, 0])


@needs_parity
def test_the_shapes_here_are_the_released_ones():
    for stage in ("teacher", "student"):
        state = parity("planner_hopper_small", stage)
        expected = planner_shapes(stage, (16, 32, 64), 16, 3, 11)
        assert {name: array.shape for name, array in state.items()} == expected
    state = parity("reward_linear", "reward")
    expected = reward_shapes((64, 128, 256), 14)
    assert {name: array.shape for name, array in state.items()} == expected


@pytest.mark.parametrize(
    ("stage", "conv"),
    [("teacher", "matmul"), ("student", "matmul"), ("student", "lax")],
)
def test_converted_planner_is_the_released_function(stage, conv):
    state = small_state(stage)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 4, 3)).astype(np.float32)
    cond = rng.normal(size=(3, 5)).astype(np.float32)
    sigma, stop = np.array([[70.0, 1.1, 0.03], [40.0, 0.9, 0.02]], np.float32)
    released, ours = Released(state), network(state, stage, conv)
    sigmas = [sigma, stop] if stage == "student" else [sigma]
    levels = [250 * np.log(sigma) for sigma in sigmas]
    raw = ours(x, levels[0], cond, *levels[1:])
    assert_same(raw, released.planner(x, levels, cond), 2e-4)
    if stage == "student":
        jumped = jumper(ours, cond)(x, sigma, stop)
        assert_same(jumped, released.jump(x, sigma, stop, cond), 2e-4)
    else:
        denoise_fn = denoiser(ours, cond)
        assert_same(denoise_fn(x, sigma), released.clean(x, sigmas, cond), 2e-4)
        following = diffusion.heun_step(denoise_fn, x, sigma, stop)
        assert_same(following, released.heun(x, sigma, stop, cond), 2e-4)


def test_converted_reward_model_is_the_released_function():
    state = small_state("reward")
    config, params = convert_state_dict(state, "reward")
    assert (config.kind, config.widths) == ("residual_mlp", (8, 16))
    x = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    apply = jax.jit(RewardModel(config).apply)
    found = apply({"params": params}, x[:, 3:], x[:, :3])
    assert_same(found, Released(state).reward(x)[:, 0])
