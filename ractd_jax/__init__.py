"""RACTD in JAX: fast diffusion planning for offline reinforcement learning."""

__version__ = "0.1.0"


def load_planner(directory, **options):
    """See :func:`ractd_jax.planning.load_planner`; imported when first called."""
    from ractd_jax.planning import load_planner as load

    return load(directory, **options)


def load_policy(path):
    """See :func:`ractd_jax.policy.load_policy`; imported when first called."""
    from ractd_jax.policy import load_policy as load

    return load(path)
