"""Guidance: transforms of a denoiser D(x, sigma, condition).

A sampler takes a list of them and applies them in order, the last one outermost. Each
is a function of functions, so that a closed-form denoiser can stand in for a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ractd_jax.diffusion.preconditioning import (
    DenoiseFn,
    broadcast_sigma,
    expand,
)

# What plans are conditioned on, by name, each [B, ...].
Condition = Mapping[str, jax.Array]
# D(x [B, ...], sigma [B], condition) -> clean estimate, shaped as x.
ConditionedDenoiseFn = Callable[[jax.Array, jax.Array, Any], jax.Array]
Guidance = Callable[[ConditionedDenoiseFn], ConditionedDenoiseFn]
# (x [B, ...], condition) -> x with the known numbers in place.
PinFn = Callable[[jax.Array, Any], jax.Array]


def guided(
    denoise_fn: ConditionedDenoiseFn, guidance: Sequence[Guidance]
) -> ConditionedDenoiseFn:
    """`denoise_fn` under every transform of `guidance`."""
    for transform in guidance:
        denoise_fn = transform(denoise_fn)
    return denoise_fn


def bind(denoise_fn: ConditionedDenoiseFn, condition: Any) -> DenoiseFn:
    """D(x, sigma), what a solver takes, under one condition."""
    return lambda x, sigma: denoise_fn(x, sigma, condition)


def inpaint(pin_clean: PinFn) -> Guidance:
    """Puts the known parts of a plan into every clean estimate (Lugmayr et al. 2022).

    A solver then keeps the known numbers, as long as they carry no noise: the noise
    that a plan starts from has to be clamped in the same places.

    Args:
      pin_clean: puts the numbers that the condition fixes into a clean plan.
    """

    def transform(denoise_fn):
        def inpainted(x, sigma, condition):
            return pin_clean(denoise_fn(x, sigma, condition), condition)

        return inpainted

    return transform


def classifier_free(scale: float, blank: Callable[[Any], Any]) -> Guidance:
    """D(x | 0) + scale (D(x | c) - D(x | 0)); Ho and Salimans 2022, eq. 6.

    The denoiser must have seen blank conditions in training. Scale 0 gives the
    unconditional denoiser, 1 gives D(x | c), and more exaggerates the condition.

    Args:
      scale: w.
      blank: the condition c -> the blank one, of the same shapes.
    """

    def transform(denoise_fn):
        def between(x, sigma, condition):
            free = denoise_fn(x, sigma, blank(condition))
            return free + scale * (denoise_fn(x, sigma, condition) - free)

        return between

    return transform


def value_guidance(
    value_fn: Callable[[jax.Array, Any], jax.Array], scale: float
) -> Guidance:
    """D(x) + scale sigma^2 grad_x V(D(x), c): the score of p(x) exp(scale V).

    The gradient goes through the denoiser, so that V rates clean plans and needs no
    training on noisy ones (Chung et al. 2023). It is exact where V is linear and
    the data Gaussian.

    Args:
      value_fn: V(clean plans [B, ...], condition) -> [B].
      scale: of V.
    """

    def transform(denoise_fn):
        def climbed(x, sigma, condition):
            def total(x):
                clean = denoise_fn(x, sigma, condition)
                return jnp.sum(value_fn(clean, condition)), clean

            slope, clean = jax.grad(total, has_aux=True)(x)
            sigma = broadcast_sigma(sigma, x)
            return clean + scale * expand(sigma**2, x) * slope

        return climbed

    return transform
