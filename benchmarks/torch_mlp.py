"""The residual MLP and its optimiser steps in plain PyTorch, to time ours against.

Modules have the names of our Flax modules, so that :func:`copy_parameters` fills one
from the other and networks and losses can be checked to compute the same. As in our
steps, all branches of the student's trained network are one evaluation. Needs
``pip install torch==2.13.0``, which nothing else here does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.common import seconds_of
from benchmarks.torch_unet import denoise, jump
from ractd_jax import diffusion, methods
from ractd_jax.losses import StudentDraws
from ractd_jax.networks import ResidualMLPConfig
from ractd_jax.settings import Diffusion, Optimizer, Settings
from ractd_jax.student import PathPoints
from ractd_jax.student.targets import TimeTriple

_WINDOWS = 20_000


class EdmEmbedding(nn.Module):
    """[B] 250 ln sigma -> [B, size], of waves of ln(sigma) / 4."""

    def __init__(self, size: int):
        super().__init__()
        frequencies = torch.exp(torch.linspace(0.0, math.log(24.0), size // 2))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.dense_in = nn.Linear(size, 4 * size)
        self.dense_out = nn.Linear(4 * size, size)

    def forward(self, level):
        angles = level[:, None] / 1_000.0 * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1)
        return self.dense_out(nn.functional.mish(self.dense_in(waves)))


class TorchMLP(nn.Module):
    """F(x [B, H, D], c_noise [B], cond [B, C], c_noise_stop [B] or None)."""

    def __init__(self, config: ResidualMLPConfig, num_levels: int):
        super().__init__()
        if config.noise_embedding != "edm":
            raise ValueError(f"only 'edm' is here, not {config.noise_embedding!r}")
        size, width = math.prod(config.plan_shape), config.width
        rows = num_levels * config.embed_dim + size + config.condition_dim
        self.noise_embedding = EdmEmbedding(config.embed_dim)
        self.dense_in = nn.Linear(rows, width)
        self.num_blocks = config.num_blocks
        for i in range(config.num_blocks):
            self.add_module(f"block_{i}_norm", nn.LayerNorm(width, eps=1e-6))
            self.add_module(f"block_{i}_in", nn.Linear(width, width))
            self.add_module(f"block_{i}_out", nn.Linear(width, width))
        self.norm_out = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, size)

    def forward(self, x, c_noise, cond, c_noise_stop=None):
        levels = [c_noise] if c_noise_stop is None else [c_noise, c_noise_stop]
        embedded = [self.noise_embedding(level) for level in levels]
        hidden = self.dense_in(torch.cat([*embedded, x.flatten(1), cond], dim=-1))
        for i in range(self.num_blocks):
            inner = self.get_submodule(f"block_{i}_norm")(hidden)
            inner = nn.functional.silu(self.get_submodule(f"block_{i}_in")(inner))
            hidden = hidden + self.get_submodule(f"block_{i}_out")(inner)
        return self.head(nn.functional.silu(self.norm_out(hidden))).view_as(x)


@torch.no_grad()
def copy_parameters(params: dict, module: nn.Module) -> None:
    """Fills `module` with the parameters of the Flax module that has its names."""
    for name, layer in params.items():
        own = module.get_submodule(name)
        if "bias" not in layer:
            copy_parameters(layer, own)
            continue
        own.bias.copy_(torch.tensor(np.asarray(layer["bias"])))
        if "scale" in layer:
            own.weight.copy_(torch.tensor(np.asarray(layer["scale"])))
        else:
            kernel = np.asarray(layer["kernel"])  # [in, out] or [1, in, out]
            own.weight.copy_(torch.tensor(kernel.reshape(-1, kernel.shape[-1]).T))


def _add_noise(plans, sigma, noise):
    return plans + sigma[:, None, None] * noise


def _dsm(clean, plans, sigma, sigma_data: float):
    weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
    return (weight * ((clean - plans) ** 2).mean(dim=(1, 2))).mean()


def _heun(denoise_fn, x, sigma, sigma_next):
    step = (sigma_next - sigma)[:, None, None]
    slope = (x - denoise_fn(x, sigma)) / sigma[:, None, None]
    guess = x + step * slope
    slope_next = (guess - denoise_fn(guess, sigma_next)) / sigma_next[:, None, None]
    return x + step * 0.5 * (slope + slope_next)


def teacher_loss(network, plans, cond, sigma, noise, noise_settings: Diffusion):
    """The DSM loss of plans [B, H, D] under cond [B, C] at levels [B]."""
    scales = _scales(noise_settings)
    x = _add_noise(plans, sigma, noise)
    clean = denoise(network, x, sigma, cond, **scales)
    return _dsm(clean, plans, sigma, noise_settings.sigma_data)


def student_loss(
    network, teacher, plans, cond, draws: StudentDraws, grid, settings: Settings
):
    """alpha L_CTM + beta L_DSM + kappa L_path, with one Heun step of the teacher.

    Args:
      network: the trained one, with two noise inputs.
      teacher: with one.
      plans: [B, H, D] clean plans.
      cond: [B, C].
      draws: of tensors.
      grid: [N + 1] levels of the bins.
      settings: their weights, and the noise.
    """
    options, scales = settings.student, _scales(settings.diffusion)
    t, u, s = (grid[bins] for bins in draws.triple)
    end, path = torch.full_like(t, grid[-1]), draws.path
    x_t = _add_noise(plans, t, draws.ctm_noise)
    x_dsm = _add_noise(plans, draws.dsm_sigma, draws.dsm_noise)
    path_end = torch.full_like(path.sigma, grid[-1])
    branches = (
        (x_t, t, s, cond),
        (x_dsm, draws.dsm_sigma, draws.dsm_sigma, cond),
        (path.start, path.sigma, path_end, path.condition),
    )
    joined = map(torch.cat, zip(*branches, strict=True))
    jumped, clean = jump(network, *joined, **scales)
    sizes = [len(branch[0]) for branch in branches]
    at_s, _, at_path_end = jumped.split(sizes)
    denoised = clean.split(sizes)[1]

    def teacher_fn(x, sigma):
        return denoise(teacher, x, sigma, cond, **scales)

    with torch.no_grad():
        target = jump(network, _heun(teacher_fn, x_t, t, u), u, s, cond, **scales)[0]
        target = jump(network, target, s, end, cond, **scales)[0]
    network.requires_grad_(False)  # this jump has a gradient of its input only
    at_end = jump(network, at_s, s, end, cond, **scales)[0]
    network.requires_grad_(True)
    ctm = ((at_end - target) ** 2).mean()
    dsm = _dsm(denoised, plans, draws.dsm_sigma, settings.diffusion.sigma_data)
    along = ((at_path_end - path.end) ** 2).mean()
    return (
        options.ctm_weight * ctm
        + options.dsm_weight * dsm
        + options.path_weight * along
    )


def _scales(noise: Diffusion) -> dict[str, float]:
    return {"sigma_min": noise.sigma_min, "sigma_data": noise.sigma_data}


def _log_normal(noise: Diffusion, batch: int):
    return torch.exp(noise.log_sigma_mean + noise.log_sigma_std * torch.randn(batch))


def _dsm_sigma(noise: Diffusion, batch: int):
    """[batch] levels of the student's DSM loss: half on the grid, half log-normal."""
    high, low = noise.sigma_max ** (1 / noise.rho), noise.sigma_min ** (1 / noise.rho)
    grid = (high + 0.7 * torch.rand(batch // 2) * (low - high)) ** noise.rho
    return torch.cat([grid, _log_normal(noise, batch - batch // 2)])


def _between(low, high):
    """[B] integers in low .. high, both included."""
    return low + (torch.rand(len(low)) * (high - low + 1)).long()


def _draws(settings: Settings, plans, paths: PathPoints) -> StudentDraws:
    options = settings.student
    batch = len(plans)
    scales = options.num_scales or settings.diffusion.num_scales
    t = torch.randint(0, scales, (batch,))
    s = _between(t, torch.full_like(t, scales))
    u = torch.minimum(_between(t, s), t + 1)
    rows = torch.randint(0, len(paths.sigma), (options.path_batch_size,))
    return StudentDraws(
        triple=TimeTriple(t, u, s),
        ctm_noise=torch.randn_like(plans),
        dsm_sigma=_dsm_sigma(settings.diffusion, batch),
        dsm_noise=torch.randn_like(plans),
        init_noise=None,
        path=PathPoints(*(leaf[rows] for leaf in paths)),
    )


def _made_up_paths(settings: Settings, shape, condition: int, grid) -> PathPoints:
    number = settings.student.num_paths
    return PathPoints(
        torch.randn(number, *shape),
        grid[torch.randint(0, len(grid), (number,))],
        torch.randn(number, *shape),
        torch.randn(number, condition),
    )


def _loss_fn(settings: Settings, config: ResidualMLPConfig, network, stage: str):
    """() -> loss of a batch drawn from made-up windows, as training draws it."""
    noise = settings.diffusion
    windows = torch.rand(_WINDOWS, *config.plan_shape) * 2 - 1
    conditions = torch.randn(_WINDOWS, config.condition_dim)
    batch = getattr(settings, stage).batch_size

    def drawn():
        rows = torch.randint(0, _WINDOWS, (batch,))
        return windows[rows], conditions[rows]

    def of_teacher():
        plans, cond = drawn()
        sigma = _log_normal(noise, batch)
        draw = torch.randn_like(plans)
        return teacher_loss(network, plans, cond, sigma, draw, noise)

    if stage == "teacher":
        return of_teacher
    teacher = TorchMLP(config, num_levels=1).requires_grad_(False)
    scales = settings.student.num_scales or noise.num_scales
    grid = diffusion.bin_sigmas(scales, methods.edm_noise(noise))
    grid = torch.tensor(np.asarray(grid))
    paths = _made_up_paths(settings, config.plan_shape, config.condition_dim, grid)

    def of_student():
        plans, cond = drawn()
        draws = _draws(settings, plans, paths)
        return student_loss(network, teacher, plans, cond, draws, grid, settings)

    return of_student


def make_step(
    network: nn.Module, loss_fn: Callable[[], torch.Tensor], options: Optimizer
) -> Callable[[], None]:
    """A step: loss, gradient, clipping, AdamW (PyTorch's fused form), EMA.

    The rate stays what it is: a schedule would take PyTorch more time.
    """
    parameters = list(network.parameters())
    average = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(
        parameters,
        lr=options.learning_rate,
        betas=(options.beta1, options.beta2),
        weight_decay=options.weight_decay,
        fused=True,
    )

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss_fn().backward()
        if options.max_grad_norm:
            nn.utils.clip_grad_norm_(parameters, options.max_grad_norm, foreach=True)
        optimizer.step()
        now = [p.detach() for p in parameters]
        torch._foreach_lerp_(average, now, 1.0 - options.ema_max_decay)

    return step


def _check_losses(settings: Settings) -> None:
    options, noise = settings.student, settings.diffusion
    found = {
        "plan.executed_weight": (settings.plan.executed_weight, 1.0),
        "diffusion.sigma_floor": (noise.sigma_floor, None),
        "teacher.distance": (settings.teacher.distance, "squared"),
        "teacher.dropout_rate": (settings.teacher.dropout_rate, 0.0),
        "student.distance": (options.distance, "squared"),
        "student.dropout_rate": (options.dropout_rate, 0.0),
        "student.dsm_form": (options.dsm_form, "denoiser"),
        "student.max_solver_steps": (options.max_solver_steps, 1),
        "student.target_ema": (options.target_ema, 0.0),
        "student.path_weight above 0": (options.path_weight > 0, True),
    }
    for name, (value, expected) in found.items():
        if value != expected:
            raise ValueError(f"{name}: only {expected!r} is here, found {value!r}")


def torch_step_seconds(
    settings: Settings, config: ResidualMLPConfig, stage: str, calls: int
) -> float:
    """Median seconds of an optimiser step of the teacher or the CTD student.

    Raises:
      ValueError: settings whose losses are not the ones here.
    """
    _check_losses(settings)
    torch.manual_seed(0)
    network = TorchMLP(config, num_levels=1 if stage == "teacher" else 2)
    loss_fn = _loss_fn(settings, config, network, stage)
    step = make_step(network, loss_fn, getattr(settings, stage).optimizer)
    return float(np.median(seconds_of(step, calls, warm=5)))
