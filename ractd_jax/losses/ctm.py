"""The consistency trajectory loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ractd_jax.losses.distances import DistanceFn
from ractd_jax.student.jump import JumpFn


def ctm_loss(
    at_stop: jax.Array,
    frozen_jump_fn: JumpFn,
    x_u: jax.Array,
    sigma_u: jax.Array,
    sigma_s: jax.Array,
    *,
    sigma_min: float,
    distance_fn: DistanceFn,
) -> jax.Array:
    """d(G_sg(a, s, smin), G_sg(b, s, smin)), b = G_sg(x_u, u, s).

    Kim et al. 2024, eq. 10-11.

    The gradient flows through `at_stop` and the frozen jump's input. It flows neither
    through that jump's parameters nor through the target. All levels weigh the same.

    Args:
      at_stop: [B, H, D] a = G_theta(x_t, t, s).
      frozen_jump_fn: G with stop-gradient (or EMA) parameters.
      x_u: [B, H, D] the teacher's solution at u from x_t.
      sigma_u: [B] level u.
      sigma_s: [B] level s.
      sigma_min: the level that both are mapped to.
      distance_fn: from :func:`ractd_jax.losses.distance`.
    """
    target_at_stop = frozen_jump_fn(x_u, sigma_u, sigma_s)
    target = frozen_jump_fn(target_at_stop, sigma_s, sigma_min)
    prediction = frozen_jump_fn(at_stop, sigma_s, sigma_min)
    weights = jnp.ones(at_stop.shape[:1])
    return distance_fn(prediction, jax.lax.stop_gradient(target), weights)
