"""The networks that make plans, from the settings."""

from __future__ import annotations

from typing import Any

from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.networks import (
    Compute,
    ElementsConfig,
    ResidualMLP,
    ResidualMLPConfig,
    TemporalTransformer,
    TemporalTransformerConfig,
    TemporalUNet,
    TemporalUNetConfig,
)
from ractd_jax.settings import Network

DenoiserNetwork = TemporalUNet | TemporalTransformer | ResidualMLP


def make_network(
    settings: Network, dims: Dimensions, dropout_rate: float = 0.0
) -> DenoiserNetwork:
    """The denoiser's network, of the kind that the settings name.

    Raises:
      ConfigError: the network cannot represent plans of these sizes.
    """
    shared = {
        "embed_dim": settings.embed_dim,
        "noise_embedding": settings.noise_embedding,
        "dropout_rate": dropout_rate,
        "condition_dim": dims.condition,
        "compute": Compute(settings.conv, settings.dtype),
    }
    network = _MAKERS[settings.kind](settings, dims, shared)
    try:
        network.config.check_horizon(dims.horizon)
    except ValueError as error:
        raise ConfigError(f"config.plan.horizon: {error}") from None
    return network


def _make_mlp(settings: Network, dims: Dimensions, shared: dict) -> ResidualMLP:
    if dims.conditioning != "film":
        raise ConfigError(
            "config.plan.conditioning: expected 'film' with config.network.kind = "
            f"'mlp', which pins no ends, found {dims.conditioning!r}"
        )
    if dims.elements:
        raise ConfigError(
            "config.plan.elements: expected 'none' with config.network.kind = 'mlp', "
            "which reads no elements, found others"
        )
    for name in ("patch_size", "fourier_octaves", "pin_reach"):
        found, plain = getattr(settings, name), getattr(Network(), name)
        if found != plain:
            raise ConfigError(
                f"config.network.{name}: expected {plain} with "
                f"config.network.kind = 'mlp', which has none, found {found}"
            )
    return ResidualMLP(
        ResidualMLPConfig(
            plan_shape=dims.plan_shape,
            width=settings.mlp_width,
            num_blocks=settings.mlp_blocks,
            **shared,
        )
    )


def _make_unet(settings: Network, dims: Dimensions, shared: dict) -> TemporalUNet:
    return TemporalUNet(
        TemporalUNetConfig(
            widths=settings.widths,
            kernel_size=settings.kernel_size,
            num_groups=settings.num_groups,
            **_over_steps(settings, dims),
            **shared,
        )
    )


def _make_transformer(
    settings: Network, dims: Dimensions, shared: dict
) -> TemporalTransformer:
    if dims.elements and settings.elements != "concat":
        raise ConfigError(
            "config.network.elements: expected 'concat' with config.network.kind = "
            f"'transformer', found {settings.elements!r}"
        )
    return TemporalTransformer(
        TemporalTransformerConfig(
            width=settings.transformer_width,
            num_blocks=settings.transformer_blocks,
            num_heads=settings.transformer_heads,
            **_over_steps(settings, dims),
            **shared,
        )
    )


def _over_steps(settings: Network, dims: Dimensions) -> dict[str, Any]:
    """What the networks over a plan's steps share."""
    return {
        "plan_dim": dims.plan_shape[1],
        "conditioning": dims.conditioning,
        "patch_size": settings.patch_size,
        "fourier_octaves": settings.fourier_octaves,
        "pin_reach": settings.pin_reach,
        "elements": _elements(settings, dims),
        "pin_size": dims.observation if dims.joint else None,
    }


def _elements(settings: Network, dims: Dimensions) -> ElementsConfig | None:
    if not dims.elements:
        return None
    return ElementsConfig(
        count=dims.elements,
        size=dims.element_size,
        conditioning=settings.elements,
        octaves=settings.element_octaves,
        kinds=dims.element_kinds,
        embed_dim=settings.element_embed_dim,
        num_heads=settings.element_heads,
        head_size=settings.element_head_size,
    )


_MAKERS = {"unet": _make_unet, "mlp": _make_mlp, "transformer": _make_transformer}
