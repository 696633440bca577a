"""Presets shared by every task; docs/settings.md lists the fields.

* ``cpu`` (default): minutes on two cores; what `make demo` runs.
* ``smoke``: seconds, to see that everything runs; learns nothing.
* ``paper``: widths and batches of Duan et al. (2025); wants an accelerator.
* ``released``: every choice as in Duan et al.'s code; wants an accelerator.
"""

from __future__ import annotations

import dataclasses
from typing import get_type_hints

from ml_collections import ConfigDict, FieldReference

from ractd_jax.settings import Settings, is_optional

SMOKE = {
    "dataset": {"num_transitions": 2_000},
    "network": {"widths": (16, 32), "embed_dim": 16},
    "teacher": {"num_steps": 8, "batch_size": 16, "optimizer": {"warmup_steps": 2}},
    "ddpm": {
        "num_timesteps": 4,
        "num_steps": 8,
        "batch_size": 16,
        "optimizer": {"warmup_steps": 2},
    },
    "bc": {"num_steps": 8, "batch_size": 16, "optimizer": {"warmup_steps": 2}},
    "reward": {"num_steps": 8, "batch_size": 16, "num_members": 2, "widths": (16,)},
    "critic": {"num_steps": 8, "batch_size": 16, "num_members": 2, "widths": (16,)},
    "steering": {"num_steps": 8, "batch_size": 16, "widths": (16,)},
    "td3_bc": {"num_steps": 8, "batch_size": 16, "widths": (16,)},
    "discrete_bc": {"num_steps": 8, "batch_size": 16, "widths": (16,)},
    "cql": {"num_steps": 8, "batch_size": 16, "widths": (16,)},
    "student": {"num_steps": 8, "batch_size": 16, "optimizer": {"warmup_steps": 2}},
    "inverse_dynamics": {"num_steps": 8, "batch_size": 16, "widths": (16,)},
    "evaluation": {"num_episodes": 2, "teacher_steps": 3},
    "run": {"steps_per_call": 2, "log_every": 4, "checkpoint_every": 4},
}

_CPU_OPTIMIZER = {
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
    "beta1": 0.9,
    "warmup_steps": 100,
    "max_grad_norm": 1.0,
    "ema_max_decay": 0.999,
}
# One recipe for the locomotion tasks: windows of the best episodes, tilted to high
# advantages; a residual MLP over the shortest plan, which one step copies best; less
# noise than was learned. How each was chosen: docs/notes/short-plans.md.
_CPU = {
    "dataset": {
        "num_transitions": 200_000,
        "weighting": "both",
        "observation_normalizer": "zscore",
    },
    "plan": {"horizon": 1},
    "network": {"kind": "mlp", "noise_embedding": "edm"},
    "diffusion": {"sigma_data": None},
    "teacher": {
        "num_steps": 8_000,
        "batch_size": 256,
        "distance": "squared",
        "optimizer": _CPU_OPTIMIZER,
    },
    "ddpm": {"num_steps": 8_000, "batch_size": 256, "optimizer": _CPU_OPTIMIZER},
    "bc": {"num_steps": 5_000, "batch_size": 256, "optimizer": _CPU_OPTIMIZER},
    "reward": {"widths": (64, 128)},
    "critic": {"num_steps": 20_000, "batch_size": 128},
    # Most of the rows are points of the teacher's paths: their targets are exact, and
    # they cost one evaluation with a gradient, a fourth of a row of the other terms.
    "student": {
        "num_steps": 6_000,
        "batch_size": 16,
        "ctm_weight": 1.0,
        "dsm_weight": 1.0,
        "path_weight": 10.0,
        "path_condition_noise": 0.3,
        "optimizer": _CPU_OPTIMIZER,
    },
    "evaluation": {"num_episodes": 100, "teacher_steps": 10, "temperature": 0.1},
    "run": {"log_every": 200},
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
        "num_scales": None,
        "ctm_weight": 1.0,
        "dsm_weight": 1.0,
        "reward_input": "dsm",
        "pessimism": 0.0,
        "advantage_cap": None,
        "teacher_weights": "raw",
        "target_ema": 0.0,
        "max_solver_steps": 1,
    },
}

# As `cpu`, at the size of `smoke`.
_ACTIONS_SMOKE = {
    **SMOKE,
    "plan": {"horizon": 4},
    "diffusion": _CPU["diffusion"],
    # So that of 2,000 transitions a whole episode of 1,000 is left.
    "dataset": {**_CPU["dataset"], **SMOKE["dataset"], "top_fraction": 0.6},
    "network": {**_CPU["network"], "mlp_width": 16, "embed_dim": 16},
    "student": {
        **SMOKE["student"],
        "path_weight": 1.0,
        "num_paths": 64,
        "path_batch_size": 16,
        "path_steps": 3,
    },
    "evaluation": {**_CPU["evaluation"], **SMOKE["evaluation"]},
}

PRESETS = {"cpu": _CPU, "smoke": _ACTIONS_SMOKE, "paper": _PAPER, "released": _RELEASED}


def get_preset(preset: str) -> ConfigDict:
    """The unlocked config of a preset for plans of actions, for a task file to fill in.

    Raises:
      ValueError: an unknown preset.
    """
    return preset_of(PRESETS, preset)


def preset_of(presets: dict, preset: str) -> ConfigDict:
    """The unlocked config of one of `presets`; ValueError for another name."""
    preset = preset or "cpu"
    if preset not in presets:
        raise ValueError(f"preset must be one of {sorted(presets)}, not {preset!r}")
    config = ConfigDict(_with_optional_fields(Settings()))
    config.update(presets[preset])
    return config


def _with_optional_fields(section) -> dict:
    """Nested dicts in which flags may give a field of ``X | None`` either.

    A flag of such a field is a Python literal, after an equals sign:
    ``--config.student.advantage_cap=None``.
    """
    hints, values = get_type_hints(type(section)), {}
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            value = _with_optional_fields(value)
        elif is_optional(hints[field.name]):
            value = FieldReference(value, field_type=object)
        values[field.name] = value
    return values


# (preset paper, preset released): Duan (2025), table B.4, and Duan et al.'s code.
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
# What the kinds of data change in preset cpu; reasons: docs/notes/short-plans.md.
# One policy's return-to-go is what its actions bring, and the reward term improves on
# the policy. In a mixture it says first of all who acted: the best episodes are chosen
# instead, and the reward term is kept small.
_ONE_POLICY = {
    "dataset": {"weighting": "advantage"},
    "student": {
        "reward_input": "one_step",
        "pessimism": 1.0,
        "advantage_cap": 0.1,
    },
}
# Options of the student on one policy's data. The hopper gains from a larger reward
# weight and from samples of all temperatures; samples of all temperatures pull the
# walker and the cheetah too far from their teachers.
_ONE_POLICY_REWARD = {
    "hopper": {"reward_weight": 60.0, "reward_temperature": 0.0},
    "walker2d": {"reward_weight": 30.0},
    "halfcheetah": {"reward_weight": 30.0},
}
# Discounts of the return-to-go (Duan 2025, B.2.2).
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
    if kind == "medium" and (preset or "cpu") == "cpu":
        config.update(_ONE_POLICY)
        config.student.update(_ONE_POLICY_REWARD[environment])
    if preset in ("paper", "released"):
        config.student.reward_weight = _REWARD_WEIGHTS[task][preset == "released"]
    return config.lock()


def get_any(preset: str) -> ConfigDict:
    """The locked config of a dataset that flags name."""
    config = get_preset(preset)
    config.task = "any-dataset"
    return config.lock()
