"""Sections about controllers, evaluation and the run itself."""

from __future__ import annotations

from ractd_jax.settings.options import option, section, seed_option


@section
class Controller:
    """What follows a plan of states."""

    kind: str = option(
        "position_velocity",
        "Controller: position_velocity (Janner et al., 2022, in the plan's own time), "
        "pursuit (along the plan's path at full speed) or inverse_dynamics (learned).",
        choices=("position_velocity", "pursuit", "inverse_dynamics"),
    )
    gain_position: float | None = option(
        None,
        "Gain of the position's error; None for the controller's own default.",
        minimum=0.0,
    )
    gain_velocity: float | None = option(
        None,
        "Gain of the velocity's error; None for the controller's own default.",
        minimum=0.0,
    )
    lookahead: float = option(
        0.3,
        "Distance at which pursuit aims along the plan, in the units of the positions.",
        minimum=0.0,
    )
    replan_every: int | None = option(
        None,
        "Steps between plans; None for one plan an episode (open loop).",
        positive=True,
    )


@section
class Evaluation:
    """How planners are sampled and evaluated."""

    num_episodes: int = option(
        100, "Episodes, one for each environment and seed.", positive=True
    )
    seed: int = seed_option(
        10_000, "Seed of the first episode's reset; the others count on."
    )
    teacher_steps: int = option(
        79, "Heun steps of the teacher's sampler when evaluated.", positive=True
    )
    student_steps: int = option(
        1, "Jumps of the student's sampler when evaluated, 1 to 4.", positive=True
    )
    temperature: float = option(
        1.0,
        "Scale of the noise that plans start from: 1 samples what was learned, less "
        "keeps nearer to its middle, 0 always gives the same plan.",
        minimum=0.0,
    )
    target_rank: float = option(
        1.0,
        "Rank of the return that planners ask for with plan.return_condition: 1 is the "
        "best.",
        minimum=-1.0,
        maximum=1.0,
    )
    guidance_weight: float = option(
        1.0,
        "Weight of classifier-free guidance by the elements of plans, for teachers and "
        "DDPM models: 0 leaves them out, 1 is the conditional model.",
        minimum=0.0,
    )
    num_candidates: int = option(
        1,
        "Plans sampled together, of which the one with the best predicted return is "
        "taken.",
        positive=True,
    )
    noise: str = option(
        "each_step",
        "When the noise that plans start from is drawn.",
        choices=("each_step", "each_episode"),
    )
    num_workers: int = option(
        0,
        "Processes that step the environments of planners of actions, each a share, "
        "while the planner plans for the others; 0 steps them in the planner's "
        "process. Each takes seconds to start.",
        minimum=0,
    )


@section
class Run:
    """Logging and checkpoints."""

    steps_per_call: int = option(
        50, "Optimiser steps inside one compiled call.", positive=True
    )
    log_every: int = option(100, "Optimiser steps between log lines.", positive=True)
    checkpoint_every: int = option(
        1_000, "Optimiser steps between checkpoints.", positive=True
    )
    keep_checkpoints: int = option(2, "Checkpoints to keep.", positive=True)
    wandb: bool = option(
        False, "Whether to log to Weights & Biases too (needs the wandb package)."
    )
