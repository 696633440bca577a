"""The temporal U-Net in plain PyTorch, to time ours against.

Parameters have the names of released checkpoints, so that
:func:`ractd_jax.interop.torch_weights.convert_state_dict` reads them and both networks
can be checked to compute the same. Needs ``pip install torch==2.13.0``, which nothing
else here does.
"""

from __future__ import annotations

import torch
from torch import nn


class Sinusoid(nn.Module):
    def __init__(self, size: int):
        super().__init__()
        half = size // 2
        steps = torch.arange(half) / (half - 1)
        self.register_buffer("frequencies", 1e4**-steps, persistent=False)

    def forward(self, level):
        angles = level[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Normed(nn.Module):
    """Convolution, group norm, Mish, over [B, C, H]."""

    def __init__(self, rows: int, columns: int, taps: int = 5, groups: int = 8):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv1d(rows, columns, taps, padding=taps // 2),
            nn.GroupNorm(groups, columns),
            nn.Mish(),
        )

    def forward(self, x):
        return self.block(x)


class Residual(nn.Module):
    def __init__(self, rows: int, columns: int, condition: int):
        super().__init__()
        self.blocks = nn.ModuleList([Normed(rows, columns), Normed(columns, columns)])
        self.cond_encoder = nn.Sequential(nn.Mish(), nn.Linear(condition, 2 * columns))
        same = rows == columns
        self.residual_conv = nn.Identity() if same else nn.Conv1d(rows, columns, 1)

    def forward(self, x, condition):
        scale, bias = self.cond_encoder(condition)[..., None].chunk(2, dim=1)
        hidden = self.blocks[1](scale * self.blocks[0](x) + bias)
        return hidden + self.residual_conv(x)


class Halve(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x):
        return self.conv(x)


class Double(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.ConvTranspose1d(channels, channels, 4, stride=2, padding=1)

    def forward(self, x):
        return self.conv(x)


class TorchUNet(nn.Module):
    """F(x [B, H, D], c_noise [B], cond [B, C], c_noise_stop [B] or None)."""

    def __init__(
        self,
        plan_dim: int,
        condition_dim: int,
        widths: tuple[int, ...],
        embed_dim: int,
        num_levels: int,
    ):
        super().__init__()
        size = num_levels * embed_dim + condition_dim
        self.diffusion_step_encoder = nn.Sequential(
            Sinusoid(embed_dim),
            nn.Linear(embed_dim, 4 * embed_dim),
            nn.Mish(),
            nn.Linear(4 * embed_dim, embed_dim),
        )
        last = len(widths) - 1
        self.down_modules = nn.ModuleList()
        for i, (rows, width) in enumerate(
            zip((plan_dim, *widths), widths, strict=False)
        ):
            level = [Residual(rows, width, size), Residual(width, width, size)]
            self.down_modules.append(
                nn.ModuleList([*level, Halve(width)] if i < last else level)
            )
        self.mid_modules = nn.ModuleList(
            [Residual(widths[-1], widths[-1], size) for _ in range(2)]
        )
        self.up_modules = nn.ModuleList()
        for i in range(last, 0, -1):
            width = widths[i - 1]
            self.up_modules.append(
                nn.ModuleList(
                    [
                        Residual(2 * widths[i], width, size),
                        Residual(width, width, size),
                        Double(width),
                    ]
                )
            )
        self.final_conv = nn.Sequential(
            Normed(widths[0], widths[0]), nn.Conv1d(widths[0], plan_dim, 1)
        )

    def forward(self, x, c_noise, cond, c_noise_stop=None):
        levels = [c_noise] if c_noise_stop is None else [c_noise, c_noise_stop]
        embedded = [self.diffusion_step_encoder(level) for level in levels]
        condition = torch.cat([*embedded, cond], dim=-1)
        x, skips = x.transpose(1, 2), []
        for level in self.down_modules:
            x = level[1](level[0](x, condition), condition)
            skips.append(x)
            x = level[2](x) if len(level) > 2 else x
        for block in self.mid_modules:
            x = block(x, condition)
        for first, second, double in self.up_modules:
            x = torch.cat([x, skips.pop()], dim=1)
            x = double(second(first(x, condition), condition))
        return self.final_conv(x).transpose(1, 2)


def denoise(network, x, sigma, cond, sigma_min: float, sigma_data: float):
    """D(x [B, H, D], sigma [B]) with `boundary_preconditioning`'s factors."""
    sigma = sigma[:, None, None]
    shifted, total = sigma - sigma_min, sigma**2 + sigma_data**2
    raw = network(x * total.rsqrt(), 250 * sigma[:, 0, 0].log(), cond)
    skip = sigma_data**2 / (shifted**2 + sigma_data**2)
    return skip * x + shifted * sigma_data * total.rsqrt() * raw


def jump(network, x, sigma, stop, cond, sigma_min: float, sigma_data: float):
    """G(x, t, s) = s/t x + (1 - s/t) g(x, t, s)."""
    t, s = sigma[:, None, None], stop[:, None, None]
    shifted, total = t - sigma_min, t**2 + sigma_data**2
    raw = network(x * total.rsqrt(), 250 * sigma.log(), cond, 250 * stop.log())
    skip = sigma_data**2 / (shifted**2 + sigma_data**2)
    clean = skip * x + shifted * sigma_data * total.rsqrt() * raw
    return s / t * x + (1 - s / t) * clean, clean


def parameters_of(module: nn.Module) -> dict:
    """Released name -> numpy array."""
    return {name: value.numpy() for name, value in module.state_dict().items()}
