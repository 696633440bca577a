"""Optimiser steps of teacher and student, ours and PyTorch's, in one run."""

from __future__ import annotations

import time
from pathlib import Path

import jax
import numpy as np

from benchmarks.common import (
    MEDIUM,
    SMALL,
    settings_for,
    step_seconds,
    torch_is_here,
)
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.storage.checkpoint import Checkpointer
from ractd_jax.training import stages
from ractd_jax.training.loop import init_fn
from ractd_jax.training.state import make_optimizer

# Network evaluations of a step; a gradient costs two more of its own.
TEACHER_EVALUATIONS = 3
# Heun on the teacher: 2. Target: 2. The CTM and the DSM branch, with gradients: 2 x 3.
# The CTM branch's end at sigma_min, a frozen network with a gradient of its input: 2.
STUDENT_EVALUATIONS = 2 + 2 + 6 + 2


def few_steps(settings: Settings, stage: str) -> Settings:
    """The settings with two steps of a stage."""
    return from_mapping(
        {
            stage: {"num_steps": 2, "optimizer": {"warmup_steps": 1}},
            "run": {"steps_per_call": 1, "log_every": 2, "checkpoint_every": 2},
        },
        settings,
    )


def student_stage(settings: Settings, dataset, folder: Path):
    """CTD's stage, on a teacher that has made no step."""
    teacher = stages.plan_stage("teacher", settings, dataset)
    optimizer = make_optimizer(teacher.optimizer, teacher.num_steps)
    state = jax.jit(init_fn(teacher, 0, optimizer))()
    checkpointer = Checkpointer(folder)
    checkpointer.save(state, teacher.metadata)
    checkpointer.close()
    return stages.student_stage(settings, dataset, str(folder), None)


def torch_step_seconds(widths, batch_size: int, stage: str, calls: int) -> float:
    """Median seconds of the same step in PyTorch: loss, AdamW, EMA of the weights."""
    import torch

    from benchmarks.torch_unet import TorchUNet, denoise, jump

    torch.manual_seed(0)
    noise = {"sigma_min": 0.02, "sigma_data": 0.5}
    levels = 2 if stage == "student" else 1
    network = TorchUNet(3, 11, widths, 32, num_levels=levels)
    parameters = list(network.parameters())
    average = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=1e-6)
    plans, cond = torch.randn(batch_size, 16, 3), torch.randn(batch_size, 11)
    teacher = TorchUNet(3, 11, widths, 32, num_levels=1) if levels == 2 else None
    grid = torch.linspace(80.0 ** (1 / 7), 0.02 ** (1 / 7), 21) ** 7

    def dsm(clean_of):
        sigma = torch.exp(-1.2 + 1.2 * torch.randn(batch_size))
        noisy = plans + sigma[:, None, None] * torch.randn_like(plans)
        weight = (sigma**2 + 0.25) / (0.5 * sigma) ** 2
        error = (clean_of(noisy, sigma) - plans) ** 2
        return (weight[:, None, None] * error).mean()

    def teacher_loss():
        return dsm(lambda x, sigma: denoise(network, x, sigma, cond, **noise))

    def student_loss():
        bins = torch.randint(0, 20, (batch_size,))
        t, u = grid[bins], grid[bins + 1]
        s = grid[(bins + 1 + torch.randint(0, 20, (batch_size,))).clamp(max=20)]
        end = torch.full_like(t, grid[-1])
        x_t = plans + t[:, None, None] * torch.randn_like(plans)

        def slope(x, sigma):
            clean = denoise(teacher, x, sigma, cond, **noise)
            return (x - clean) / sigma[:, None, None]

        with torch.no_grad():
            step = (u - t)[:, None, None]
            first = slope(x_t, t)
            x_u = x_t + 0.5 * step * (first + slope(x_t + step * first, u))
            target = jump(network, x_u, u, s, cond, **noise)[0]
            target = jump(network, target, s, end, cond, **noise)[0]
        jumped = jump(network, x_t, t, s, cond, **noise)[0]
        for p in parameters:
            p.requires_grad_(False)
        end_plan = jump(network, jumped, s, end, cond, **noise)[0]
        for p in parameters:
            p.requires_grad_(True)
        ctm = ((end_plan - target) ** 2).mean()
        return ctm + dsm(
            lambda x, sigma: jump(network, x, sigma, sigma, cond, **noise)[1]
        )

    loss_fn = student_loss if stage == "student" else teacher_loss
    seconds = []
    for _ in range(calls + 2):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss_fn().backward()
        optimizer.step()
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 0.001)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[2:]))


def training_rows(dataset, folder: Path, calls: int, batch_size: int = 256) -> dict:
    """Seconds of optimiser steps, by width."""
    rows = {}
    for widths in (SMALL, MEDIUM):
        settings = settings_for(widths, batch_size)
        teacher = step_seconds(stages.plan_stage("teacher", settings, dataset), calls)
        stage = student_stage(settings, dataset, folder / f"teacher_{widths[0]}")
        student = step_seconds(stage, calls)
        found = {
            "teacher_step_s": teacher,
            "student_step_s": student,
            "student_to_teacher": student / teacher,
            "evaluations_ratio": STUDENT_EVALUATIONS / TEACHER_EVALUATIONS,
        }
        if torch_is_here():
            for name, ours in (("teacher", teacher), ("student", student)):
                theirs = torch_step_seconds(widths, batch_size, name, 3 * calls)
                found[f"torch_{name}_step_s"] = theirs
                found[f"{name}_times_torch"] = theirs / ours
        rows[str(list(widths))] = found
    return rows
