"""Presets of the mazes, whose plans are states."""

from __future__ import annotations

from typing import NamedTuple

from ml_collections import ConfigDict

from ractd_jax.presets import base

# For plans of states, which are long and smooth.
_MAZE_SMOKE = {
    **base.SMOKE,
    "network": {"widths": (8, 16), "embed_dim": 8},
    "reward": {**base.SMOKE["reward"], "target": "goal_return"},
}
# Small batches: many updates count for more than quiet ones.
_MAZE_CPU_DIFFUSION = {
    "num_steps": 24_000,
    "batch_size": 8,
    "optimizer": {"learning_rate": 1e-3, "warmup_steps": 300},
}
_MAZE_CPU = {
    "dataset": {"num_transitions": 1_000_000},
    "network": {
        "widths": (32, 64, 128),
        "patch_size": 4,
        "num_groups": 4,
        "fourier_octaves": 4,
    },
    "diffusion": {
        "log_sigma_mean": 0.3,
        "log_sigma_std": 1.4,
        "sigma_min": 0.005,
        "sigma_floor": 0.1,
    },
    "plan": {"conditioning": "both", "stride": 2, "split_at_goals": True},
    "teacher": {**_MAZE_CPU_DIFFUSION, "distance": "squared"},
    "ddpm": _MAZE_CPU_DIFFUSION,
    # Small: it sees every state of every plan.
    "reward": {
        "target": "goal_return",
        "off_data_every": 2,
        "num_members": 2,
        "num_steps": 8_000,
        "widths": (128, 128),
        "fourier_octaves": 5,
    },
    "inverse_dynamics": {"stride": 8},
    # Solves of up to 4 of 10 levels: few jumps are learned from jumps.
    "student": {
        "num_steps": 2_400,
        "batch_size": 8,
        "num_scales": 10,
        "max_solver_steps": 4,
        "advantage_cap": None,
        "optimizer": {"learning_rate": 3e-4, "warmup_steps": 100},
    },
    # Ten times Diffuser's gain: the recording's own controller has it.
    "controller": {"gain_position": 10.0},
    "evaluation": {"teacher_steps": 20},
    "run": {"log_every": 200, "checkpoint_every": 2_000},
}
_MAZE_PAPER = {
    "teacher": {"optimizer": {"warmup_steps": 500, "weight_decay": 1e-4}},
    "ddpm": {
        "num_steps": 200_000,
        "batch_size": 1_024,
        "optimizer": {"warmup_steps": 500, "weight_decay": 1e-4},
    },
    "reward": {"target": "goal_return", "discount": 0.99},
    "student": {"advantage_cap": None, "optimizer": {"weight_decay": 1e-6}},
}
_MAZE_PRESETS = {"cpu": _MAZE_CPU, "smoke": _MAZE_SMOKE}
# On top of the presets of plans of actions.
_MAZE_CHANGES = {
    "paper": _MAZE_PAPER,
    "released": {**_MAZE_PAPER, "plan": {"goal": "last"}},
}


class _Maze(NamedTuple):
    """What differs between the mazes: Duan (2025), B.1 and B.4, and the code."""

    environment: str
    horizon: int
    widths: tuple[int, ...]
    student_batch: int
    reward_weight: float
    # Of the cpu preset: times a sum over a plan's states, where the other losses are
    # means. The longer the ways, the less the reward model knows of them.
    cpu_reward_weight: float


MAZES = {
    "umaze": _Maze("ractd/Maze2d-UMaze-v0", 128, (256, 512, 1024), 1_400, 1e-4, 0.003),
    "medium": _Maze("ractd/Maze2d-Medium-v0", 256, (512, 1024, 2048), 320, 1e-4, 0.003),
    "large": _Maze(
        "ractd/Maze2d-Large-v0", 384, (256, 512, 1024, 2048), 320, 1e-5, 3e-5
    ),
}


# Who recorded: a driver with noise on its actions, or D4RL's.
RECORDINGS = ("", "d4rl")


def get_maze2d(maze: str, preset: str, recording: str = "") -> ConfigDict:
    """The locked config of a maze2d task: plans of states, from a start to the goal.

    Args:
      maze: ``umaze``, ``medium`` or ``large``.
      preset: see :mod:`ractd_jax.presets.base`.
      recording: one of :data:`RECORDINGS`.
    """
    task = MAZES[maze]
    kind = f"{maze}-{recording}" if recording else maze
    config = base.preset_of(base.PRESETS | _MAZE_PRESETS, preset)
    config.task = f"pointmaze-{kind}"
    config.dataset.id = f"ractd/pointmaze/{kind}-v0"
    config.environment.id = task.environment
    config.plan.kind = "states"
    config.plan.horizon = task.horizon
    preset = preset or "cpu"
    config.update(_MAZE_CHANGES.get(preset, {}))
    if preset == "cpu":
        config.network.pin_reach = task.horizon // 8
        # Far from the goal, walls and ways must still differ.
        config.reward.discount = 1 - 1.5 / task.horizon
        config.student.reward_weight = task.cpu_reward_weight
    if preset in ("paper", "released"):
        config.network.widths = task.widths
        config.network.embed_dim = 256
        config.student.batch_size = task.student_batch
        config.student.reward_weight = task.reward_weight
    return config.lock()
