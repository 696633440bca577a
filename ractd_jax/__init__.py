"""RACTD in JAX: fast diffusion planning for offline reinforcement learning."""

__version__ = "0.1.0"


def load_planner(directory, **options):
    """See :func:`ractd_jax.planning.load_planner`; imported when first called."""
    from ractd_jax.planning import load_planner as load

    return load(directory, **options)
