"""Networks as pure functions (Flax Linen)."""

from ractd_jax.networks.actor import ActorMLP, LogitsMLP
from ractd_jax.networks.blocks import Compute, Conv
from ractd_jax.networks.conditioning import CONDITIONINGS, fold_levels, pin_ends
from ractd_jax.networks.elements import ElementsConfig
from ractd_jax.networks.inverse_dynamics import (
    InverseDynamics,
    InverseDynamicsConfig,
)
from ractd_jax.networks.noise_embedding import NoiseEmbedding
from ractd_jax.networks.residual_mlp import (
    ResidualMLP,
    ResidualMLPConfig,
    fold_mlp_levels,
)
from ractd_jax.networks.reward_model import RewardModel, RewardModelConfig
from ractd_jax.networks.temporal_transformer import (
    TemporalTransformer,
    TemporalTransformerConfig,
)
from ractd_jax.networks.temporal_unet import TemporalUNet, TemporalUNetConfig

__all__ = [
    "CONDITIONINGS",
    "ActorMLP",
    "Compute",
    "Conv",
    "ElementsConfig",
    "InverseDynamics",
    "InverseDynamicsConfig",
    "LogitsMLP",
    "NoiseEmbedding",
    "ResidualMLP",
    "ResidualMLPConfig",
    "RewardModel",
    "RewardModelConfig",
    "TemporalTransformer",
    "TemporalTransformerConfig",
    "TemporalUNet",
    "TemporalUNetConfig",
    "fold_levels",
    "fold_mlp_levels",
    "pin_ends",
]
