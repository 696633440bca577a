"""Sections about each training: teacher, DDPM model, reward models, clones."""

from __future__ import annotations

from ractd_jax.settings.models import Optimizer
from ractd_jax.settings.options import option, section

DISTANCES = ("squared", "pseudo_huber", "released")


@section
class Teacher:
    """Training of the EDM teacher."""

    num_steps: int = option(6_000, "Optimiser steps.", positive=True)
    batch_size: int = option(128, "Plans per step over all devices.", positive=True)
    distance: str = option("released", "Distance of the DSM loss.", choices=DISTANCES)
    dropout_rate: float = option(
        0.0, "Dropout rate of the U-Net.", minimum=0.0, below=1.0
    )
    optimizer: Optimizer = Optimizer()


@section
class Ddpm:
    """Training of the DDPM model (Ho et al., 2020; Janner et al., 2022)."""

    num_timesteps: int = option(
        100, "T, steps of the discrete diffusion.", positive=True
    )
    num_steps: int = option(6_000, "Optimiser steps.", positive=True)
    batch_size: int = option(128, "Plans per step over all devices.", positive=True)
    distance: str = option("squared", "Distance of the loss.", choices=DISTANCES)
    dropout_rate: float = option(
        0.0, "Dropout rate of the U-Net.", minimum=0.0, below=1.0
    )
    optimizer: Optimizer = Optimizer()


@section
class Reward:
    """Training of the ensemble of reward models."""

    num_steps: int = option(3_000, "Optimiser steps.", positive=True)
    batch_size: int = option(
        256, "State-action pairs per step over all devices.", positive=True
    )
    kind: str = option(
        "residual_mlp",
        "Architecture: Duan et al.'s code has residual_mlp, their text conv.",
        choices=("residual_mlp", "conv"),
    )
    widths: tuple[int, ...] = option((64, 128, 256), "Hidden widths.")
    fourier_octaves: int = option(
        0,
        "Octaves of Fourier features of the inputs; 0 is Duan et al.'s model.",
        minimum=0,
    )
    num_members: int = option(
        5,
        "Models of the ensemble, trained together on batches of their own.",
        positive=True,
    )
    target: str = option(
        "return_to_go",
        "What is predicted: the return_to_go of a state and an action, or, of a state "
        "and a goal, goal_indicator (1 within the goal's radius) or goal_return (the "
        "discount to the power of the steps until then, the discounted return's form).",
        choices=("return_to_go", "goal_indicator", "goal_return"),
    )
    goal_radius: float = option(
        0.5, "Radius of a goal, in the units of the data.", positive=True
    )
    off_data_every: int | None = option(
        None,
        "With goal_return, every n-th state is moved off the data, where it returns "
        "nothing; None moves no state.",
        positive=True,
    )
    discount: float = option(
        0.997, "gamma of the return-to-go.", minimum=0.0, maximum=1.0
    )
    termination_penalty: float = option(
        -100.0, "Added to the reward of a step that the environment ended."
    )
    holdout_fraction: float = option(
        0.1,
        "Share of the episodes held out to measure the error.",
        minimum=0.0,
        below=1.0,
    )
    optimizer: Optimizer = Optimizer(
        learning_rate=3e-3, weight_decay=1e-3, beta1=0.9, warmup_steps=0
    )


@section
class BehaviourCloning:
    """Training of a behaviour clone, the baseline."""

    num_steps: int = option(5_000, "Optimiser steps.", positive=True)
    batch_size: int = option(256, "Plans per step over all devices.", positive=True)
    dropout_rate: float = option(
        0.0, "Dropout rate of the network.", minimum=0.0, below=1.0
    )
    optimizer: Optimizer = Optimizer()


@section
class InverseDynamics:
    """Training of the inverse dynamics, which turn plans of states into actions."""

    num_steps: int = option(5_000, "Optimiser steps.", positive=True)
    batch_size: int = option(
        256, "Pairs of observations per step over all devices.", positive=True
    )
    widths: tuple[int, ...] = option(
        (128, 128), "Hidden widths, a residual block for each."
    )
    holdout_fraction: float = option(
        0.1,
        "Share of the episodes held out to measure the error.",
        minimum=0.0,
        below=1.0,
    )
    stride: int = option(
        1,
        "Environment steps between the two observations; the action is the first's.",
        positive=True,
    )
    optimizer: Optimizer = Optimizer(
        learning_rate=1e-3, weight_decay=1e-4, beta1=0.9, warmup_steps=0
    )
