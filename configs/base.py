"""Presets shared by every task; the fields are documented in ractd_jax/settings.py.

* ``cpu`` (default): minutes on two cores; what `make demo` runs.
* ``smoke``: seconds, to see that everything runs; learns nothing.
* ``paper``: widths and batches of the paper; wants an accelerator.
* ``released``: every choice as in the released code; wants an accelerator.
"""

from __future__ import annotations

from typing import NamedTuple

from ml_collections import ConfigDict

from ractd_jax.settings import Settings, to_dict

_SMOKE = {
    "dataset": {"num_transitions": 2_000},
    "network": {"widths": (16, 32), "embed_dim": 16},
    "teacher": {"num_steps": 8, "batch_size": 16, "optimizer": {"warmup_steps": 2}},
    "ddpm": {
        "num_timesteps": 4,
        "num_steps": 8,
        "batch_size": 16,
        "optimizer": {"warmup_steps": 2},
    },
    "reward": {"num_steps": 8, "batch_size": 16, "num_members": 2, "widths": (16,)},
    "student": {"num_steps": 8, "batch_size": 16, "optimizer": {"warmup_steps": 2}},
    "inverse_dynamics": {"num_steps": 8, "batch_size": 16, "widths": (16,)},
    "evaluation": {"num_episodes": 2, "teacher_steps": 3},
    "run": {"steps_per_call": 2, "log_every": 4, "checkpoint_every": 4},
}

_CPU = {
    "dataset": {"num_transitions": 200_000},
    "network": {"widths": (32, 64, 128)},
    "teacher": {
        "num_steps": 4_000,
        "batch_size": 128,
        "optimizer": {"learning_rate": 3e-4, "warmup_steps": 300},
    },
    "student": {
        "num_steps": 500,
        "batch_size": 64,
        "optimizer": {"learning_rate": 3e-4, "warmup_steps": 100},
    },
    "evaluation": {"num_episodes": 100, "teacher_steps": 10},
}

_PAPER = {
    "network": {"widths": (512, 1024, 2048), "embed_dim": 128, "dtype": "bfloat16"},
    "teacher": {
        "num_steps": 200_000,
        "batch_size": 1_024,
        "optimizer": {"warmup_steps": 2_000},
    },
    "reward": {
        "num_steps": 50_000,
        "batch_size": 1_024,
        "optimizer": {"learning_rate": 2e-4},
    },
    "student": {"num_steps": 100_000, "batch_size": 4_800, "dropout_rate": 0.2},
    "run": {"log_every": 500, "checkpoint_every": 10_000},
}

_RELEASED = {
    **_PAPER,
    "plan": {"padding": "drop"},
    "network": {"widths": (512, 1024, 2048), "embed_dim": 128, "dtype": "float32"},
    "diffusion": {"init_noise_scale": 1.0},
    "teacher": {**_PAPER["teacher"], "distance": "released"},
    "reward": {**_PAPER["reward"], "num_members": 1, "kind": "residual_mlp"},
    "student": {
        **_PAPER["student"],
        "distance": "released",
        "dsm_form": "jump",
        "num_scales": 0,
        "ctm_weight": 1.0,
        "dsm_weight": 1.0,
        "reward_input": "dsm",
        "pessimism": 0.0,
        "advantage_cap": 0.0,
        "teacher_weights": "raw",
        "target_ema": 0.0,
        "max_solver_steps": 1,
    },
}

PRESETS = {"cpu": _CPU, "smoke": _SMOKE, "paper": _PAPER, "released": _RELEASED}


def get_preset(preset: str) -> ConfigDict:
    """The unlocked config of a preset, for a task file to fill in.

    Raises:
      ValueError: an unknown preset.
    """
    preset = preset or "cpu"
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {sorted(PRESETS)}, not {preset!r}")
    config = ConfigDict(to_dict(Settings()))
    config.update(PRESETS[preset])
    return config


# (preset paper, preset released) of the thesis's table B.4 and the released code.
_REWARD_WEIGHTS = {
    "hopper-medium-replay": (1.0, 1.0),
    "hopper-medium": (3.0, 1.0),
    "hopper-medium-expert": (0.0, 0.5),
    "halfcheetah-medium-replay": (1.0, 1.0),
    "halfcheetah-medium": (0.5, 0.5),
    "halfcheetah-medium-expert": (0.0, 0.0),
    "walker2d-medium-replay": (1.0, 0.5),
    "walker2d-medium": (0.4, 0.4),
    "walker2d-medium-expert": (0.2, 0.2),
}
# Of the return-to-go (thesis B.2.2).
_DISCOUNTS = {"hopper": 0.997, "walker2d": 0.99, "halfcheetah": 0.9}


def get_locomotion(task: str, preset: str) -> ConfigDict:
    """The locked config of a locomotion task on the dataset that is made here.

    Args:
      task: such as ``hopper-medium-expert``.
      preset: see the top of this file.
    """
    config = get_preset(preset)
    environment, _, kind = task.partition("-")
    config.task = task
    config.dataset.id = f"ractd/{environment}/{kind}-v0"
    config.reward.discount = _DISCOUNTS[environment]
    if preset in ("paper", "released"):
        config.student.reward_weight = _REWARD_WEIGHTS[task][preset == "released"]
    return config.lock()


# On top of the presets above, for plans of states.
_MAZE_SMOKE = {
    "network": {"widths": (8, 16), "embed_dim": 8},
    "reward": {"target": "goal_return"},
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
    # Small batches: many updates count for more than quiet ones.
    "teacher": {
        "num_steps": 24_000,
        "batch_size": 8,
        "distance": "squared",
        "optimizer": {"learning_rate": 1e-3},
    },
    "ddpm": {
        "num_steps": 24_000,
        "batch_size": 8,
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 300},
    },
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
        "advantage_cap": 0.0,
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
    "student": {"advantage_cap": 0.0, "optimizer": {"weight_decay": 1e-6}},
}
_MAZE_PRESETS = {
    "cpu": _MAZE_CPU,
    "smoke": _MAZE_SMOKE,
    "paper": _MAZE_PAPER,
    "released": {**_MAZE_PAPER, "plan": {"goal": "last"}},
}


class _Maze(NamedTuple):
    """What differs between the mazes: thesis B.1 and B.4, and the released code."""

    environment: str
    horizon: int
    widths: tuple[int, ...]
    student_batch: int
    reward_weight: float
    # Of the cpu preset: times a sum over a plan's states, where the other losses are
    # means. The longer the ways, the less the reward model knows of them.
    cpu_reward_weight: float


_MAZES = {
    "umaze": _Maze("ractd/Maze2d-UMaze-v0", 128, (256, 512, 1024), 1_400, 1e-4, 0.003),
    "medium": _Maze("ractd/Maze2d-Medium-v0", 256, (512, 1024, 2048), 320, 1e-4, 0.003),
    "large": _Maze(
        "ractd/Maze2d-Large-v0", 384, (256, 512, 1024, 2048), 320, 1e-5, 3e-5
    ),
}


def get_maze2d(maze: str, preset: str) -> ConfigDict:
    """The locked config of a maze2d task: plans of states, from a start to the goal.

    Args:
      maze: ``umaze``, ``medium`` or ``large``.
      preset: see the top of this file.
    """
    task = _MAZES[maze]
    config = get_preset(preset)
    config.task = f"pointmaze-{maze}"
    config.dataset.id = f"ractd/pointmaze/{maze}-v0"
    config.environment.id = task.environment
    config.plan.kind = "states"
    config.plan.horizon = task.horizon
    preset = preset or "cpu"
    if preset in _MAZE_PRESETS:
        config.update(_MAZE_PRESETS[preset])
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
