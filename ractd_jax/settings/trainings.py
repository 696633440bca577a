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
        "What is predicted: the return_to_go of a state and an action, or of a whole "
        "plan from its start on (plan_return), or, of a state and a goal, "
        "goal_indicator (1 within the goal's radius) or goal_return (the discount to "
        "the power of the steps until then, the discounted return's form).",
        choices=("return_to_go", "plan_return", "goal_indicator", "goal_return"),
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
class Critic:
    """Training of a critic, which learns values by temporal differences."""

    num_steps: int = option(50_000, "Optimiser steps.", positive=True)
    batch_size: int = option(
        256, "Transitions per step over all devices.", positive=True
    )
    target: str = option(
        "iql",
        "What is learned: the value of the best of the data's actions (iql; Kostrikov "
        "et al., 2022) or of the policies that recorded them (sarsa).",
        choices=("iql", "sarsa"),
    )
    widths: tuple[int, ...] = option((64, 64), "Hidden widths.")
    num_members: int = option(
        5,
        "Pairs of Q and V, trained together on batches of their own.",
        positive=True,
    )
    expectile: float = option(
        0.7,
        "tau of iql: 1/2 is the mean of the data's actions, towards 1 is the best.",
        minimum=0.5,
        below=1.0,
    )
    discount: float = option(0.99, "gamma.", minimum=0.0, below=1.0)
    target_ema: float = option(
        0.995, "Decay of the target network's EMA.", minimum=0.0, below=1.0
    )
    holdout_fraction: float = option(
        0.1,
        "Share of the episodes held out to measure how the critic ranks.",
        minimum=0.0,
        below=1.0,
    )
    optimizer: Optimizer = Optimizer(
        learning_rate=1e-3, weight_decay=0.0, beta1=0.9, warmup_steps=0
    )


@section
class Steering:
    """Training of a network that steers a student's noise to higher returns."""

    num_steps: int = option(2_000, "Optimiser steps.", positive=True)
    batch_size: int = option(256, "Plans per step over all devices.", positive=True)
    widths: tuple[int, ...] = option((64, 64), "Hidden widths.")
    reach: float = option(
        1.5,
        "Furthest that a component of the noise is moved, in its standard deviations.",
        positive=True,
    )
    distance_weight: float = option(
        0.1,
        "Weight of the mean squared distance that the noise is moved, where returns "
        "are in units of their spread over one state's plans.",
        minimum=0.0,
    )
    least_temperature: float = option(
        0.0,
        "The noise is scaled by a number drawn from this one to 1, as planners scale "
        "it.",
        minimum=0.0,
        maximum=1.0,
    )
    optimizer: Optimizer = Optimizer(
        learning_rate=1e-3, weight_decay=0.0, beta1=0.9, warmup_steps=100
    )


@section
class Td3Bc:
    """Training of TD3+BC (Fujimoto and Gu, 2021), a baseline."""

    num_steps: int = option(50_000, "Optimiser steps.", positive=True)
    batch_size: int = option(
        256, "Transitions per step over all devices.", positive=True
    )
    widths: tuple[int, ...] = option((128, 128), "Hidden widths of actor and critics.")
    alpha: float = option(
        2.5,
        "Weight of the value: the actor's loss is -alpha Q / mean |Q| plus its squared "
        "distance from the data's action.",
        minimum=0.0,
    )
    discount: float = option(0.99, "gamma.", minimum=0.0, below=1.0)
    target_ema: float = option(
        0.995, "Decay of the target networks' EMA.", minimum=0.0, below=1.0
    )
    noise: float = option(
        0.2, "Standard deviation of the noise on target actions.", minimum=0.0
    )
    noise_clip: float = option(0.5, "Largest noise on target actions.", minimum=0.0)
    optimizer: Optimizer = Optimizer(
        learning_rate=1e-3, weight_decay=0.0, beta1=0.9, warmup_steps=0
    )


@section
class DiscreteCloning:
    """Training of a behaviour clone of discrete actions, a baseline."""

    num_steps: int = option(10_000, "Optimiser steps.", positive=True)
    batch_size: int = option(256, "Actions per step over all devices.", positive=True)
    widths: tuple[int, ...] = option((256, 256), "Hidden widths.")
    optimizer: Optimizer = Optimizer(learning_rate=1e-3, beta1=0.9, warmup_steps=100)


@section
class Cql:
    """Training of conservative Q-learning (Kumar et al., 2020) of discrete actions."""

    num_steps: int = option(20_000, "Optimiser steps.", positive=True)
    batch_size: int = option(
        256, "Transitions per step over all devices.", positive=True
    )
    widths: tuple[int, ...] = option((256, 256), "Hidden widths.")
    alpha: float = option(1.0, "Weight of the conservative term.", minimum=0.0)
    discount: float = option(0.8, "gamma.", minimum=0.0, below=1.0)
    target_ema: float = option(
        0.995, "Decay of the target network's EMA.", minimum=0.0, below=1.0
    )
    optimizer: Optimizer = Optimizer(
        learning_rate=3e-4, weight_decay=0.0, beta1=0.9, warmup_steps=0
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
    places: bool = option(
        True,
        "Whether the model sees where a state lies, such as an ant in its maze; "
        "without, it sees the change of place alone (Lu et al., 2025).",
    )
