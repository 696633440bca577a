"""A config file for every preset: --config=.../by_name.py:hopper_medium_expert:cpu."""

from ractd_jax.presets import get_config

__all__ = ["get_config"]
