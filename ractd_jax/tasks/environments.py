"""The environments that plans act in."""

from __future__ import annotations

import contextlib

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.settings import Environment
from ractd_jax.tasks import task_of
from ractd_jax.tasks.flatten import FlattenObservation


def make_environment(settings: Environment) -> gymnasium.Env:
    """One environment, with flat observations, as its family makes it.

    Raises:
      ConfigError: see :func:`make_registered`.
    """
    return task_of(settings.id).make(settings)


def make_registered(settings: Environment) -> gymnasium.Env:
    """One environment that Gymnasium or gymnasium-robotics knows.

    Raises:
      ConfigError: no environment is named, Gymnasium cannot make it, or it needs
        gymnasium-robotics, which is not installed.
    """
    if not settings.id:
        raise ConfigError(
            "config.environment.id: expected a Gymnasium id, as the dataset names no "
            "environment, found nothing"
        )
    if settings.id not in gymnasium.registry:
        with contextlib.suppress(ImportError):
            import gymnasium_robotics

            gymnasium.register_envs(gymnasium_robotics)
    try:
        what = EnvSpec.from_json(settings.spec) if settings.spec else settings.id
        env = gymnasium.make(what, disable_env_checker=True)
    except (gymnasium.error.Error, ValueError) as error:
        raise ConfigError(f"config.environment.id: {error}") from None
    if not isinstance(env.observation_space, gymnasium.spaces.Box):
        env = FlattenObservation(env, settings.flatten)
    return env


def make_vector_env(settings: Environment, num_envs: int) -> SyncVectorEnv:
    """`num_envs` environments that never reset by themselves.

    Raises:
      ConfigError: see :func:`make_environment`.
    """
    return as_vector([make_environment(settings) for _ in range(num_envs)])


def as_vector(envs: list[gymnasium.Env]) -> SyncVectorEnv:
    """Existing environments as one vector environment; nothing is made or reset."""
    makers = [lambda env=env: env for env in envs]
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED)


def check_spaces(
    observation_space: gymnasium.Space, action_space: gymnasium.Space, dims: Dimensions
) -> None:
    """Raises ConfigError when an environment's spaces are not those of the data."""
    spaces = {
        "observations": (observation_space, dims.environment_observation),
        "actions": (action_space, dims.action),
    }
    for name, (space, size) in spaces.items():
        if space.shape != (size,):
            raise ConfigError(
                f"config.environment.id: the planner has {size}-dimensional {name}, "
                f"the environment {space}"
            )


def check_environment(settings: Environment, dims: Dimensions) -> None:
    """Makes the environment once, so that errors come before a training, not after."""
    env = make_environment(settings)
    check_spaces(env.observation_space, env.action_space, dims)
    env.close()
