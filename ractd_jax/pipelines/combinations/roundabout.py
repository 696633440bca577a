"""The roundabout: a car among cars and bicycles, learned among one kind at a time."""

from __future__ import annotations

import contextlib
import dataclasses

import gymnasium
import numpy as np

from ractd_jax.errors import ConfigError, DataError
from ractd_jax.pipelines.combinations.control import Experiment, Outcomes
from ractd_jax.presets.combinations import get_roundabout
from ractd_jax.recording.behaviour import load_packaged_snapshots
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.tasks.environments import registered_spec
from ractd_jax.tasks.roundabout import CRASH, IDS

_TRAFFIC = {"ID": "one_kind", "OOC": "mixed"}
# PPO that learned in the training's traffic, both kinds by turns.
_DRIVER = "roundabout-one_kind"
_DRIVERS = ("roundabout-cars", "roundabout-bicycles", _DRIVER)
_OBSERVED = 50  # scenes


def roundabout_experiment(preset: str) -> Experiment:
    """The experiment.

    Args:
      preset: of :func:`ractd_jax.presets.combinations.get_roundabout`.

    Raises:
      ConfigError: the drivers are not shipped.
    """
    try:
        found = {name: load_packaged_snapshots(name) for name in _DRIVERS}
    except DataError as error:
        raise ConfigError(
            "--task=roundabout: expected drivers in the package (docs/combinations.md "
            f"says how they are trained), found none: {error}"
        ) from None

    driver = found[_DRIVER].role("expert")

    def settings(seed: int) -> Settings:
        found = from_mapping(get_roundabout(preset).to_dict())
        return dataclasses.replace(found, seed=seed)

    def play(where: str, seeds: np.ndarray) -> Outcomes:
        driven = [_drive(driver, *scene) for scene in _scenes(where, seeds)]
        crashed = np.array([crash for _, crash, _ in driven])
        return Outcomes(crashed, np.array([total for _, _, total in driven]))

    def observed(where: str, seeds: np.ndarray) -> np.ndarray:
        scenes = _scenes(where, seeds[:_OBSERVED])
        return np.concatenate([_drive(driver, *scene)[0] for scene in scenes])

    return Experiment(
        name="roundabout",
        event=CRASH,
        settings=settings,
        environments={where: IDS[traffic] for where, traffic in _TRAFFIC.items()},
        references={"PPO": play},
        observed=observed,
        weights=(1.0,),
        large_bc=True,
        ddpm=True,
    )


def _scenes(where: str, seeds: np.ndarray):
    """(environment, seed) of each scene."""
    spec = registered_spec(IDS[_TRAFFIC[where]])
    with contextlib.closing(gymnasium.make(spec, disable_env_checker=True)) as env:
        for seed in seeds.tolist():
            yield env, seed


def _drive(policy, env: gymnasium.Env, seed: int) -> tuple[np.ndarray, bool, float]:
    """(states [T, O], whether it crashed, return) of the likeliest actions."""
    state, _ = env.reset(seed=seed)
    states, total, over = [], 0.0, False
    while not over:
        states.append(state)
        action = policy.act(state[None], None)[0]
        state, reward, terminated, truncated, info = env.step(action)
        total += float(reward)
        over = terminated or truncated
    return np.stack(states), bool(info["crashed"]), total
