"""Plans of states and actions, each step a state and the action that is taken in it."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np


def join_parts(states, actions):
    """[..., O + A] of `states` [..., O] and `actions` [..., A], of numpy or JAX."""
    module = np if isinstance(states, np.ndarray) else jnp
    return module.concatenate([states, actions], axis=-1)


def split_parts(plans, observation: int):
    """(states [..., O], actions [..., A]) of joint plans [..., O + A]."""
    return plans[..., :observation], plans[..., observation:]
