"""A dataset of states and goals."""

import dataclasses

import numpy as np
import pytest

from ractd_jax.data.episodes import build_episodes
from ractd_jax.data.sources import make_dataset
from ractd_jax.settings import from_mapping
from tests.toys import (
    HORIZON,
    merged,
)

LENGTHS = (9, 3, 14, 1, 11, 20, 8, 6, 17, 12)
SMALL = {
    "task": "toy",
    "plan": {"kind": "states", "horizon": HORIZON},
    "network": {"widths": (8,), "embed_dim": 8},
    "teacher": {"num_steps": 2, "batch_size": 8},
    "ddpm": {"num_timesteps": 4, "num_steps": 2, "batch_size": 8},
    "reward": {
        "num_steps": 2,
        "batch_size": 8,
        "num_members": 2,
        "widths": (8,),
        "target": "goal_return",
        "discount": 0.9,
        "goal_radius": 1.5,
        "holdout_fraction": 0.3,
    },
    "student": {"num_steps": 2, "batch_size": 8},
    "run": {"steps_per_call": 2, "log_every": 2, "checkpoint_every": 2},
}


def state_settings(**sections):
    return from_mapping(merged(SMALL, sections))


@pytest.fixture(scope="module")
def dataset():
    """Random walks of states (x, y, vx, vy), of which no two numbers are the same."""
    rng = np.random.default_rng(0)
    number = sum(LENGTHS)
    velocities = rng.normal(size=(number, 2))
    observations = np.concatenate([np.cumsum(velocities, 0), velocities], axis=1)
    timeouts = np.zeros(number, bool)
    timeouts[np.cumsum(LENGTHS) - 1] = True
    episodes = build_episodes(
        {
            "observations": observations,
            "actions": rng.uniform(-1, 1, (number, 2)),
            "rewards": np.zeros(number),
            "terminals": np.zeros(number, bool),
            "timeouts": timeouts,
        },
        "toy",
    )
    return make_dataset("toy", episodes)


def with_goals(dataset, lengths: tuple[int, ...]):
    """The data with a goal that holds for each of `lengths` steps."""
    numbers = np.repeat(np.arange(len(lengths), dtype=np.float32), lengths)
    episodes = dataclasses.replace(
        dataset.episodes, goals=np.stack([numbers // 2, -numbers], axis=1)
    )
    return dataclasses.replace(dataset, episodes=episodes)


# Plans without a goal.
FREE = {"goal_size": 0, "conditioning": "both", "stride": 2}
RELATIVE = {"relative": True, "conditioning": "film"}
REWARDS = np.random.default_rng(1).normal(size=sum(LENGTHS)).astype(np.float32)


def free_settings(**sections):
    sections["plan"] = FREE | sections.get("plan", {})
    return state_settings(
        **{"reward": {"target": "plan_return", "holdout_fraction": 0.3}, **sections}
    )


@pytest.fixture(scope="module")
def paid(dataset):
    """The same walks, with rewards."""
    episodes = dataclasses.replace(dataset.episodes, rewards=REWARDS)
    return dataclasses.replace(dataset, episodes=episodes)
