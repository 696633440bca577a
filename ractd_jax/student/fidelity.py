"""How faithful a one-step student is to its teacher."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

_PROJECTIONS = 32
_LEAST_SPREAD = 1e-6


def spread(samples: jax.Array) -> jax.Array:
    """Standard deviation over the noise of [S, K, ...], S states and K noises.

    The root of the variance over K, averaged over everything else.
    """
    return jnp.sqrt(jnp.mean(jnp.var(samples, axis=1)))


def sliced_wasserstein(
    first: jax.Array, second: jax.Array, num_projections: int = _PROJECTIONS
) -> jax.Array:
    """Sliced 1-Wasserstein distance of samples [S, K, F] in each state, averaged.

    The mean over random unit directions of the distance between sorted projections
    (Bonneel et al., 2015).
    """
    shape = (num_projections, first.shape[-1])
    directions = jax.random.normal(jax.random.key(0), shape)
    directions /= jnp.linalg.norm(directions, axis=-1, keepdims=True)
    sorted_ = [jnp.sort(x @ directions.T, axis=1) for x in (first, second)]
    return jnp.mean(jnp.abs(sorted_[0] - sorted_[1]))


def mode_shares(teacher: jax.Array, student: jax.Array) -> tuple[jax.Array, jax.Array]:
    """[S] share of samples [S, K, D] on one side of the teacher's best split in two.

    In each state the teacher's samples are projected on their first principal axis and
    split where the variance within the two sides is least (Otsu's criterion); both
    models' samples are then counted by that split.

    Returns:
      The teacher's shares and the student's.
    """
    centre = teacher.mean(axis=1, keepdims=True)
    centred = teacher - centre
    covariance = jnp.einsum("skd,ske->sde", centred, centred)
    axis = jnp.linalg.eigh(covariance)[1][..., -1:]  # [S, D, 1]
    ours = (centred @ axis)[..., 0]
    threshold = jax.vmap(_best_split)(ours)[:, None]
    theirs = ((student - centre) @ axis)[..., 0]
    return (ours > threshold).mean(axis=1), (theirs > threshold).mean(axis=1)


def _best_split(values):
    """Where [K] numbers split with the largest variance between the two sides."""
    ordered = jnp.sort(values)
    count = jnp.arange(1, len(values))
    below = jnp.cumsum(ordered)[:-1]
    gap = below / count - (ordered.sum() - below) / (len(values) - count)
    best = jnp.argmax(count * (len(values) - count) * gap**2)
    return (ordered[best] + ordered[best + 1]) / 2


def fidelity(
    teacher: jax.Array, student: jax.Array, step: int = 0
) -> dict[str, jax.Array]:
    """How faithful a student is to its teacher, from samples of the same noise.

    Args:
      teacher: [S, K, H, D] normalised plans of S states and K noises.
      student: the student's plans from the same states and noises.
      step: which step of a plan is compared alone; 0 is the executed action.

    Returns:
      Scalars. ``spread``, ``plan_spread``: the student's spread of that step and of
      whole plans, over the teacher's; ``error``, ``plan_error``: root mean square
      difference to the teacher's plan from the same noise, over the teacher's spread;
      ``sliced_wasserstein`` of whole plans, over the teacher's spread of whole plans;
      ``mode_share`` and ``teacher_mode_share``: mean share of the teacher's larger
      mode; ``mode_gap``: mean difference of the two shares in a state;
      ``teacher_spread``: the teacher's spread of that step, in normalised units.
    """
    chex.assert_equal_shape([teacher, student])
    chex.assert_rank(teacher, 4)
    first, ours = teacher[:, :, step], student[:, :, step]
    plans = [x.reshape(*x.shape[:2], -1) for x in (teacher, student)]
    # Keeps the numbers finite where a teacher's plans do not differ at all.
    scales = [jnp.maximum(spread(x), _LEAST_SPREAD) for x in (first, plans[0])]
    shares, found = mode_shares(first, ours)
    larger = shares >= 0.5

    def error(a, b):
        return jnp.sqrt(jnp.mean(jnp.square(a - b)))

    def of_larger(share):
        return jnp.mean(jnp.where(larger, share, 1.0 - share))

    return {
        "spread": spread(ours) / scales[0],
        "plan_spread": spread(plans[1]) / scales[1],
        "error": error(first, ours) / scales[0],
        "plan_error": error(*plans) / scales[1],
        "sliced_wasserstein": sliced_wasserstein(plans[0], plans[1]) / scales[1],
        "mode_share": of_larger(found),
        "teacher_mode_share": of_larger(shares),
        "mode_gap": jnp.mean(jnp.abs(found - shares)),
        "teacher_spread": scales[0],
    }
