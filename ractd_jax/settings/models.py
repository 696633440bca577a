"""Sections about the networks, the diffusion and the optimiser."""

from __future__ import annotations

from ractd_jax.errors import ConfigError
from ractd_jax.settings.options import option, section


@section
class Network:
    """The network that teacher, student, DDPM model and behaviour clone share."""

    kind: str = option(
        "unet",
        "Temporal U-Net (unet, as Duan et al., 2025), residual MLP, for short plans "
        "(mlp), or a transformer over the plan's steps (transformer, Peebles and Xie, "
        "2023).",
        choices=("unet", "mlp", "transformer"),
    )
    mlp_width: int = option(192, "Features of the MLP's hidden layers.", positive=True)
    mlp_blocks: int = option(2, "Residual blocks of the MLP.", positive=True)
    noise_embedding: str = option(
        "released",
        "How a noise level enters the network: as sinusoids of 250 ln sigma (released, "
        "as in Duan et al.'s code) or as waves of ln(sigma) / 4 (edm).",
        choices=("released", "edm"),
    )
    widths: tuple[int, ...] = option(
        (32, 64, 128), "Channels of each level of the U-Net."
    )
    embed_dim: int = option(32, "Size of the noise-level embedding.", positive=True)
    kernel_size: int = option(5, "Taps of the convolutions.", positive=True)
    num_groups: int = option(8, "Groups of the group norms.", positive=True)
    patch_size: int = option(
        1,
        "Steps of a plan that make up one position of the network (Duan et al., 2025: "
        "1).",
        positive=True,
    )
    fourier_octaves: int = option(
        0,
        "Octaves of Fourier features of the plan's steps and of the condition, for "
        "mazes, whose walls are sharp; 0 is Duan et al.'s network.",
        minimum=0,
    )
    pin_reach: int = option(
        0,
        "Steps of a clean plan that move along with a clamped end; 0 for the end only.",
        minimum=0,
    )
    conv: str = option(
        "auto",
        "How convolutions are computed; auto takes matmul on CPUs and for few plans.",
        choices=("auto", "matmul", "lax"),
    )
    dtype: str = option(
        "float32",
        "dtype of the activations; parameters stay float32.",
        choices=("float32", "bfloat16"),
    )
    transformer_width: int = option(
        128,
        "Features of the transformer's tokens; even, a multiple of transformer_heads.",
        positive=True,
    )
    transformer_blocks: int = option(2, "Blocks of the transformer.", positive=True)
    transformer_heads: int = option(
        4, "Heads of the transformer's attention.", positive=True
    )
    elements: str = option(
        "attention",
        "How elements of the scene (plan.elements) enter: by cross-attention after the "
        "residual blocks of the U-Net but the middle ones (attention), or concatenated "
        "with the noise embedding (concat).",
        choices=("attention", "concat"),
    )
    element_octaves: int = option(
        10,
        "Octaves of Fourier features of each number of an element.",
        minimum=0,
    )
    element_embed_dim: int = option(
        20, "Size of the learned embedding of an element's kind.", positive=True
    )
    element_heads: int = option(4, "Heads of the attention to elements.", positive=True)
    element_head_size: int = option(
        32, "Features of a head of the attention to elements.", positive=True
    )

    def __post_init__(self):
        width, heads = self.transformer_width, self.transformer_heads
        if width % 2 or width % heads:
            raise ConfigError(
                "config.network.transformer_width: expected an even multiple of "
                f"config.network.transformer_heads = {heads}, found {width}"
            )


@section
class Diffusion:
    """Noise levels of the EDM teacher and the student (Karras et al., 2022)."""

    sigma_min: float = option(
        0.02,
        'Lowest noise level, "time zero" in Duan et al. (2025).',
        positive=True,
    )
    sigma_max: float = option(80.0, "Highest noise level.", positive=True)
    sigma_data: float | None = option(
        0.5,
        "Standard deviation of the normalised plans; None measures it on the dataset.",
        positive=True,
        minimum=0.0,
    )
    sigma_floor: float | None = option(
        None,
        "Lowest level that the network sees, for smooth plans, where the network gives "
        "the clean plan itself; None takes EDM's preconditioning.",
        positive=True,
        minimum=0.0,
    )
    rho: float = option(7.0, "Curvature of the Karras grid.", positive=True)
    num_scales: int = option(80, "N, levels of the grid.", positive=True)
    init_noise_scale: float | None = option(
        None,
        "Standard deviation of x_T; None takes sigma_max (Duan et al.'s code: 1).",
        positive=True,
        minimum=0.0,
    )
    log_sigma_mean: float = option(-1.2, "Mean of ln sigma in training.")
    log_sigma_std: float = option(1.2, "Standard deviation of ln sigma in training.")

    def __post_init__(self):
        if self.sigma_max <= self.sigma_min:
            raise ConfigError(
                "config.diffusion.sigma_max: expected more than "
                f"config.diffusion.sigma_min = {self.sigma_min}, found {self.sigma_max}"
            )


@section
class Optimizer:
    """AdamW and the average of the parameters."""

    learning_rate: float = option(1e-4, "Peak learning rate of AdamW.", minimum=0.0)
    weight_decay: float = option(1e-6, "Decoupled weight decay.", minimum=0.0)
    beta1: float = option(0.95, "First moment's decay.", minimum=0.0, below=1.0)
    beta2: float = option(0.999, "Second moment's decay.", minimum=0.0, below=1.0)
    warmup_steps: int = option(500, "Steps of linear warm-up from 0.", minimum=0)
    schedule: str = option(
        "cosine",
        "Learning rate after the warm-up: cosine (to 0 at the last step) or constant.",
        choices=("cosine", "constant"),
    )
    max_grad_norm: float | None = option(
        None,
        "Global gradient norm to clip at; None for no clipping.",
        positive=True,
        minimum=0.0,
    )
    ema_power: float = option(
        0.75,
        "EMA decay at step k is 1 - (1 + k)^-ema_power, capped by ema_max_decay.",
        minimum=0.0,
    )
    ema_max_decay: float = option(
        0.9999, "Cap of the EMA decay.", minimum=0.0, below=1.0
    )
