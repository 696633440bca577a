"""Building blocks of the temporal U-Net: convolutions, group norm, FiLM residuals.

Every convolution keeps its kernel as [taps, in, out] and has two forms that share
the parameters: a gather of the taps and one matrix product (the default
on CPUs, where XLA's convolution is several times slower), or `lax.conv`.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from ractd_jax.networks.packing import Packing

_CONV_DIMS = ("NHC", "HIO", "NHC")
_FEW_PLANS = 256


@dataclasses.dataclass(frozen=True)
class Compute:
    """How a network computes.

    Attributes:
      conv: ``matmul``, ``lax``, or ``auto`` (lax for many plans on accelerators, else
        matmul). ``packed`` is ``matmul`` with some kernels in bfloat16 and in another
        layout; it is the only one that changes the parameters (see :class:`Packing`).
      dtype: dtype of the activations, ``float32`` or ``bfloat16``.
    """

    conv: str = "auto"
    dtype: str = "float32"

    def __post_init__(self):
        if self.conv not in ("auto", "matmul", "lax", "packed"):
            raise ValueError(
                f"conv must be auto, matmul, lax or packed, not {self.conv!r}"
            )
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype must be float32 or bfloat16, not {self.dtype!r}")

    def uses_matmul(self, batch_size: int) -> bool:
        """Whether convolutions of this many plans are computed as products.

        On a GPU, products plan 1.9 times faster for one plan, 1.6 times for 100 and
        0.95 times for 1,000 (docs/performance.md).
        """
        if self.conv == "auto":
            return jax.default_backend() == "cpu" or batch_size <= _FEW_PLANS
        return self.conv != "lax"


@jax.custom_jvp
def mish(x: jax.Array) -> jax.Array:
    """x tanh(softplus(x)) with one exponential: x n / (n + 2), n = e(e + 2)."""
    e = jnp.exp(jnp.minimum(x, 20.0))
    n = e * (e + 2.0)
    return x * (n / (n + 2.0))


@mish.defjvp
def _mish_jvp(primals, tangents):
    (x,), (x_dot,) = primals, tangents
    e = jnp.exp(jnp.minimum(x, 20.0))
    n = e * (e + 2.0)
    inverse = 1.0 / (n + 2.0)
    slope = inverse * (n + 4.0 * x * inverse * e * (e + 1.0))
    return x * (n * inverse), slope * x_dot


def fourier_features(x: jax.Array, octaves: int) -> jax.Array:
    """[..., D] -> [..., D (1 + 2 octaves)]: x, and sin and cos of pi/2 2^k x.

    Walls are sharp in the position; a network of raw coordinates learns them slowly
    (Tancik et al., 2020).
    """
    angles = x[..., None] * (0.5 * math.pi * 2.0 ** jnp.arange(octaves))
    waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return jnp.concatenate([x, waves.reshape(*x.shape[:-1], -1)], axis=-1)


def _torch_uniform(fan_in: int):
    """PyTorch's default for kernels and biases: U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    bound = 1.0 / max(fan_in, 1) ** 0.5

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


@jax.custom_vjp
def _taps_product(unfolded: jax.Array, kernel: jax.Array) -> jax.Array:
    """[B, H, K] @ [K, C] with a gradient laid out for XLA's CPU matrix products.

    The barriers keep XLA from computing the cotangent once for each of its uses, and
    from turning the kernel's gradient into a product of transposes, which runs at
    half the speed.
    """
    return unfolded @ kernel


def _taps_product_forward(unfolded, kernel):
    return unfolded @ kernel, (unfolded, kernel)


def _taps_product_backward(saved, y_bar):
    unfolded, kernel = saved
    y_bar = lax.optimization_barrier(y_bar)
    rows = unfolded.reshape(-1, kernel.shape[0])
    transposed = y_bar.reshape(-1, kernel.shape[1]).T @ rows
    return y_bar @ kernel.T, lax.optimization_barrier(transposed).T


_taps_product.defvjp(_taps_product_forward, _taps_product_backward)


class Dense(nn.Module):
    """y = x W + b with W [in, out] and PyTorch's initial values, or zeros."""

    features: int
    compute: Compute = Compute()
    starts_at_zero: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        zeros = nn.initializers.zeros
        init = zeros if self.starts_at_zero else _torch_uniform(x.shape[-1])
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,))
        dtype = self.compute.dtype
        return x.astype(dtype) @ kernel.astype(dtype) + bias.astype(dtype)


class Conv(nn.Module):
    """1-D convolution over [B, H, C] with `kernel_size // 2` zeros at both ends.

    With stride 2 and kernel size 3 the output has H / 2 positions, as PyTorch's
    ``Conv1d(kernel_size=3, stride=2, padding=1)`` gives for even H.
    """

    features: int
    kernel_size: int
    stride: int = 1
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dtype = self.compute.dtype
        packing = self.packing(x.shape)
        form = packing.form if self.compute.conv == "packed" else None
        init = _torch_uniform(self.kernel_size * x.shape[-1])
        shape = packing.packed_shape if form else packing.shape
        kernel = self.param("kernel", init, shape)
        bias = self.param("bias", init, (self.features,)).astype(dtype)
        x = x.astype(dtype)
        if form == "banded":
            return packing.banded_product(x, kernel) + bias
        if form == "thin":
            return packing.thin_product(self._unfold(x), kernel) + bias
        kernel = kernel.astype(dtype)
        pad = self.kernel_size // 2
        if self.kernel_size == 1:
            return x[:, :: self.stride] @ kernel[0] + bias
        if not self.compute.uses_matmul(x.shape[0]):
            return bias + lax.conv_general_dilated(
                x, kernel, (self.stride,), [(pad, pad)], dimension_numbers=_CONV_DIMS
            )
        unfolded = self._unfold(x)
        return _taps_product(unfolded, kernel.reshape(-1, self.features)) + bias

    def packing(self, input_shape: tuple[int, int, int]) -> Packing:
        """How a packed network packs this kernel."""
        batch, length, features_in = input_shape
        positions = (length - 1) // self.stride + 1  # taps are odd, padding is half
        shape = self.kernel_size, features_in, self.features
        return Packing(batch, length, positions, shape, self.stride)

    def _unfold(self, x):
        """[B, H, in] -> [B, H_out, taps in], the taps side by side."""
        pad = self.kernel_size // 2
        padded = jnp.pad(x, ((0, 0), (pad, pad), (0, 0)))
        last = (x.shape[1] - 1) // self.stride * self.stride + 1
        taps = [
            padded[:, tap : tap + last : self.stride] for tap in range(self.kernel_size)
        ]
        return jnp.concatenate(taps, axis=-1)


class ConvTranspose(nn.Module):
    """Transposed convolution that doubles H: 4 taps, stride 2, padding 1.

    Kernel [4, in, out] in the order PyTorch stores its taps. As a product: output
    2i reads (x[i-1], x[i]) through taps (3, 1); output 2i + 1 reads (x[i], x[i+1])
    through taps (2, 0).
    """

    features: int
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, length, in_features = x.shape
        init = _torch_uniform(4 * self.features)
        dtype = self.compute.dtype
        kernel = self.param("kernel", init, (4, in_features, self.features))
        kernel = kernel.astype(dtype)
        bias = self.param("bias", init, (self.features,)).astype(dtype)
        x = x.astype(dtype)
        if not self.compute.uses_matmul(x.shape[0]):
            return bias + lax.conv_general_dilated(
                x, kernel[::-1], (1,), [(2, 2)], (2,), dimension_numbers=_CONV_DIMS
            )
        padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
        pairs = jnp.concatenate([padded[:, :-1], padded[:, 1:]], axis=-1)
        even = pairs[:, :-1] @ jnp.concatenate([kernel[3], kernel[1]])
        odd = pairs[:, 1:] @ jnp.concatenate([kernel[2], kernel[0]])
        joined = jnp.stack([even, odd], axis=2)
        return joined.reshape(batch, 2 * length, self.features) + bias


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def group_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, num_groups: int, epsilon: float
) -> jax.Array:
    """Group norm over (H, C / groups) of x [B, H, C]; statistics in float32.

    The gradient is written by hand, with a third of the operations that differentiating
    the forward pass takes.
    """
    return _group_norm_forward(x, scale, bias, num_groups, epsilon)[0]


def _grouped_mean(x: jax.Array, num_groups: int) -> jax.Array:
    """[B, H, C] -> [B, 1, C]: the mean over each group, on each of its channels."""
    batch, length, channels = x.shape
    per_group = jnp.sum(x, axis=1).reshape(batch, num_groups, -1).sum(axis=-1)
    size = channels // num_groups
    return jnp.repeat(per_group / (length * size), size, axis=-1)[:, None, :]


def _group_norm_forward(x, scale, bias, num_groups, epsilon):
    wide = x.astype(jnp.float32)
    centred = wide - _grouped_mean(wide, num_groups)
    variance = _grouped_mean(jnp.square(centred), num_groups)
    inverse_std = lax.rsqrt(variance + epsilon)
    y = (centred * (inverse_std * scale) + bias).astype(x.dtype)
    return y, (centred, inverse_std, scale)


def _group_norm_backward(num_groups, epsilon, saved, y_bar):
    del epsilon
    centred, inverse_std, scale = saved
    wide = y_bar.astype(jnp.float32)
    normed = centred * inverse_std
    scaled = wide * scale
    x_bar = inverse_std * (
        scaled
        - _grouped_mean(scaled, num_groups)
        - normed * _grouped_mean(scaled * normed, num_groups)
    )
    scale_bar = jnp.sum(wide * normed, axis=(0, 1))
    bias_bar = jnp.sum(wide, axis=(0, 1))
    return x_bar.astype(y_bar.dtype), scale_bar, bias_bar


group_norm.defvjp(_group_norm_forward, _group_norm_backward)


class GroupNorm(nn.Module):
    """Group norm with a scale and a bias for each channel."""

    num_groups: int = 8
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        if channels % self.num_groups:
            raise ValueError(
                f"{channels} channels cannot be split into {self.num_groups} groups"
            )
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        return group_norm(x, scale, bias, self.num_groups, self.epsilon)


class ConvBlock(nn.Module):
    """Conv -> GroupNorm -> Mish."""

    features: int
    kernel_size: int
    num_groups: int
    compute: Compute

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Conv(self.features, self.kernel_size, compute=self.compute, name="conv")(x)
        return mish(GroupNorm(self.num_groups, name="norm")(x))


class ResidualBlock(nn.Module):
    """Two conv blocks with a FiLM y = scale * y + bias between them, and a skip.

    ``[scale | bias] = Dense(mish(condition))``, plain scale (not 1 + scale), unless
    the caller computed `film` [B, 2 features] itself.
    Dropout follows the first conv block and the residual sum.
    """

    features: int
    kernel_size: int
    num_groups: int
    dropout_rate: float
    compute: Compute

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        activated_condition: jax.Array,
        deterministic: bool,
        film: jax.Array | None = None,
    ) -> jax.Array:
        def block(name):
            return ConvBlock(
                self.features,
                self.kernel_size,
                self.num_groups,
                self.compute,
                name=name,
            )

        dropout = nn.Dropout(self.dropout_rate, deterministic=deterministic)
        if film is None:
            dense = Dense(2 * self.features, self.compute, name="film")
            film = dense(activated_condition)
        scale, bias = jnp.split(film[:, None, :], 2, axis=-1)
        hidden = dropout(block("block_in")(x))
        hidden = block("block_out")(scale * hidden + bias)
        if x.shape[-1] != self.features:
            x = Conv(self.features, 1, compute=self.compute, name="skip")(x)
        return dropout(hidden + x)
