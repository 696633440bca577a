"""What plans are made of: checked observations and keys, and fixed numerics.

Planners and exported policies share it, so it needs JAX and numpy only.
"""

from __future__ import annotations

import contextlib
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

KEY_IMPL = "threefry2x32"
_LARGEST_SEED = 2**32 - 1


def fixed_numerics() -> contextlib.ExitStack:
    """A context in which programs are traced in float32, with JAX's own defaults.

    Of one key they make the same plans, whatever JAX's options are outside of it.
    """
    stack = contextlib.ExitStack()
    stack.enter_context(jax.enable_x64(False))
    stack.enter_context(jax.threefry_partitionable(True))
    stack.enter_context(jax.default_matmul_precision(None))
    return stack


def checked_observations(observations: np.ndarray, inner: tuple) -> np.ndarray:
    """Observations as [B, ...] float32, where `inner` is the shape of one.

    Inside jit, vmap and grad there are no numbers yet: only the shape is checked.

    Raises:
      ValueError: another shape, an empty batch, or numbers that are not finite.
    """
    try:
        observations = np.asarray(observations, np.float32)
    except jax.errors.TracerArrayConversionError:
        observations = observations.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"observations: expected numbers, found {error}") from None
    if observations.shape[1:] != inner or len(observations) == 0:
        expected = ", ".join(["B", *map(str, inner)])
        raise ValueError(
            f"observations: expected shape [{expected}], found "
            f"{list(observations.shape)}"
        )
    if isinstance(observations, jax.core.Tracer):
        return observations
    # The sum of squares is finite if all numbers are, unless it overflows. Checking
    # each number would take a tenth of a small plan's time.
    if not math.isfinite(np.vdot(observations, observations)):
        if not np.isfinite(observations).all():
            raise ValueError("observations: expected finite numbers")
    return observations


def checked_key(key: jax.typing.ArrayLike, batch_size: int) -> jax.Array:
    """What :meth:`Policy.plan` takes as a key, as one typed key or [B] of them.

    Raises:
      ValueError: it is no key, or there are neither one nor B of them.
    """
    checked: Any = key
    if getattr(key, "dtype", None) != _key_dtype():
        words = _key_words(key)
        if words is None:
            named = getattr(key, "dtype", type(key).__name__)
            found = repr(key) if key is None or np.isscalar(key) else named
            raise ValueError(
                f"key: expected {KEY_IMPL} keys (jax.random.key, or uint32 [2] of "
                f"PRNGKey) or an int from 0 to {_LARGEST_SEED}, found {found}"
            )
        pairs = jnp.asarray(words[..., :2])
        checked = jax.random.wrap_key_data(pairs, impl=KEY_IMPL)
    if checked.ndim and checked.shape != (batch_size,):
        raise ValueError(
            f"key: expected one key or [{batch_size}] keys "
            f"(jax.random.key), found shape {list(checked.shape)}"
        )
    return checked


@functools.cache
def _key_dtype():
    return jax.random.key(0, impl=KEY_IMPL).dtype


def _key_words(key) -> jax.Array | np.ndarray | None:
    """[..., 2 or more] uint32, of one key or several; None of what is no key."""
    if not isinstance(key, jax.Array):
        try:
            key = np.asarray(key)
        except (TypeError, ValueError):
            return None
    if jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
        # Those of JAX's other kinds begin with the threefry key of the same seed.
        return jax.random.key_data(key)
    if key.dtype == np.uint32 and key.ndim:
        return key if key.shape[-1] in (2, 4) else None
    if key.dtype.kind not in "iu":
        return None
    module = jnp if isinstance(key, jax.core.Tracer) else np
    seeds = module.asarray(key)
    if module is np and np.any((seeds < 0) | (seeds > _LARGEST_SEED)):
        return None
    seeds = seeds.astype(np.uint32)
    return module.stack([module.zeros_like(seeds), seeds], axis=-1)
