"""RACTD in JAX: fast diffusion planning for offline reinforcement learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from ractd_jax.planning import Planner
    from ractd_jax.policy import Policy

__version__ = "0.1.0"


def load_planner(directory: str | os.PathLike, **options: Any) -> Planner:
    """See :func:`ractd_jax.planning.load_planner`; imported when first called."""
    from ractd_jax.planning import load_planner as load

    return load(directory, **options)


def pretrained(name: str) -> Policy:
    """The policy that the package ships for a task, such as ``hopper-medium-expert``.

    See :class:`ractd_jax.policy.Policy`; its ``metadata["card"]`` says what it scored.

    Raises:
      PolicyError: no policy of that name is shipped.
    """
    from ractd_jax.policy import find_policy
    from ractd_jax.policy import load_policy as load

    return load(find_policy(name))


def load_policy(path: str | os.PathLike) -> Policy:
    """See :func:`ractd_jax.policy.load_policy`; imported when first called."""
    from ractd_jax.policy import load_policy as load

    return load(path)
