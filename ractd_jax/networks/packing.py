"""bfloat16 kernels of convolutions in the layouts that a CPU multiplies fastest."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

LEAST_THIN_INPUTS = 1_280
_THIN_BLOCK = 256
# Numbers in a banded kernel; larger ones take longer to read than the taps.
_LARGEST_BAND = 2**20


class Packing(NamedTuple):
    """The layout of the kernel of a convolution [B, H, in] -> [B, H_out, C].

    Attributes:
      batch: B.
      positions: H.
      out_positions: H_out.
      shape: shape of the kernel, [taps, in, C].
      stride: stride of the convolution.
    """

    batch: int
    positions: int
    out_positions: int
    shape: tuple[int, int, int]
    stride: int

    @property
    def form(self) -> str | None:
        """``thin``, ``banded``, or None where the product of the taps is faster.

        ``thin`` is a GEMV layout for few rows. A library's product packs the kernel at
        every call, which takes longer than a product of few rows; this layout is read
        as it is. ``banded`` is a band matrix for many plans of few positions: one
        matrix from all positions to all, zero outside its band. It needs no copy of
        the taps side by side, and with matrix units for bfloat16 its zeros cost less
        than that copy.
        """
        taps, features_in, features = self.shape
        inputs, rows = taps * features_in, self.batch * self.out_positions
        if rows <= 8:
            large = inputs >= max(LEAST_THIN_INPUTS, 320 * rows)
            return "thin" if large and inputs % _THIN_BLOCK == 0 else None
        size = features_in * features * self.positions * self.out_positions
        small = taps > 1 and self.positions <= 8 and size <= _LARGEST_BAND
        return "banded" if small and self.batch >= 16 else None

    @property
    def packed_shape(self) -> tuple[int, int]:
        taps, features_in, features = self.shape
        if self.form == "thin":
            return taps * features_in // _THIN_BLOCK * features, _THIN_BLOCK
        return self.positions * features_in, self.out_positions * features

    def pack(self, kernel: jax.Array) -> jax.Array:
        """[taps, in, C] -> `packed_shape`, in bfloat16."""
        if self.form == "thin":
            blocks = kernel.reshape(-1, _THIN_BLOCK, kernel.shape[-1])
            packed = blocks.swapaxes(1, 2)
        else:
            taps = len(kernel)
            starts = self.stride * np.arange(self.out_positions) - taps // 2
            tap = np.arange(self.positions)[:, None] - starts  # [H, H_out]
            inside = (tap >= 0) & (tap < taps)
            band = kernel[np.where(inside, tap, 0)] * inside[..., None, None]
            packed = band.swapaxes(1, 2)
        return packed.reshape(self.packed_shape).astype(jnp.bfloat16)

    def banded_product(self, x: jax.Array, packed: jax.Array) -> jax.Array:
        """[B, H, in] -> [B, H_out, C], the convolution without its bias."""
        flat = x.reshape(x.shape[0], -1).astype(jnp.bfloat16)
        y = jnp.dot(flat, packed, preferred_element_type=x.dtype)
        return y.reshape(x.shape[0], self.out_positions, -1)

    def thin_product(self, unfolded: jax.Array, packed: jax.Array) -> jax.Array:
        """[B, H_out, taps in] -> [B, H_out, C], the convolution without its bias.

        One reduction with several operands is one loop, which reads a weight once for
        all rows. XLA vectorises it only where it may reorder sums
        (``xla_cpu_enable_fast_math``).
        """
        blocks = unfolded.shape[-1] // _THIN_BLOCK
        rows = unfolded.reshape(-1, blocks, 1, _THIN_BLOCK)
        kernel = packed.reshape(blocks, -1, _THIN_BLOCK).astype(rows.dtype)
        sums = lax.reduce(
            [kernel * row for row in rows],
            [jnp.zeros((), rows.dtype)] * len(rows),
            lambda these, those: [a + b for a, b in zip(these, those, strict=True)],
            (2,),
        )
        y = jnp.stack([row.sum(axis=0) for row in sums])
        return y.reshape(*unfolded.shape[:2], -1)
