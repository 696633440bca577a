"""RACTD in JAX: fast diffusion planning for offline reinforcement learning."""

__version__ = "0.1.0"


def load_planner(directory, *, num_steps=None, weights="ema"):
    """See :func:`ractd_jax.planning.load_planner`; imported when first called."""
    from ractd_jax.planning import load_planner as load

    return load(directory, num_steps=num_steps, weights=weights)
