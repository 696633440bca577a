"""Networks as pure functions (Flax Linen)."""

from ractd_jax.networks.blocks import Compute, Conv
from ractd_jax.networks.inverse_dynamics import (
    InverseDynamics,
    InverseDynamicsConfig,
)
from ractd_jax.networks.reward_model import RewardModel, RewardModelConfig
from ractd_jax.networks.temporal_unet import (
    TemporalUNet,
    TemporalUNetConfig,
    fold_levels,
    pin_ends,
)

__all__ = [
    "Compute",
    "Conv",
    "InverseDynamics",
    "InverseDynamicsConfig",
    "RewardModel",
    "RewardModelConfig",
    "TemporalUNet",
    "TemporalUNetConfig",
    "fold_levels",
    "pin_ends",
]
