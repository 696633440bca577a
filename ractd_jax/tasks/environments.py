"""The environments that plans act in: the one door to Gymnasium."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec, WrapperSpec, load_env_creator
from gymnasium.spaces import Box

from ractd_jax.dimensions import Bounds, Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.settings import Environment
from ractd_jax.tasks import task_of
from ractd_jax.tasks.flatten import flat_spaces

# Share of a bound's width that rounding may go beyond it.
_ROUNDING = 1e-5


def make_environment(settings: Environment) -> gymnasium.Env:
    """One environment, with flat observations and actions, as its family makes it.

    Raises:
      ConfigError: see :func:`make_registered`.
    """
    return task_of(settings.id).make(settings)


def make_registered(settings: Environment) -> gymnasium.Env:
    """One environment that Gymnasium or gymnasium-robotics knows, or that a spec says.

    With a spec it is made as it was recorded: entry point, arguments, time limit and
    wrappers.

    Raises:
      ConfigError: no environment is named, or it cannot be made.
    """
    if not settings.id:
        raise ConfigError(
            "config.environment.id: expected a Gymnasium id, as the dataset names no "
            "environment, found nothing"
        )
    registered = registered_spec(settings.id)
    try:
        what = settings.id
        if settings.spec:
            what = EnvSpec.from_json(settings.spec)
            # Packages move their classes from version to version.
            what.entry_point = (registered or what).entry_point
        env = gymnasium.make(
            what,
            max_episode_steps=settings.max_episode_steps,
            disable_env_checker=True,
        )
    except Exception as error:  # an entry point raises what it likes
        kind = "" if isinstance(error, gymnasium.error.Error) else type(error).__name__
        reason = " ".join(f"{kind} {error}".split())
        raise ConfigError(
            f"config.environment.id: {settings.id!r} cannot be made: {reason}"
        ) from None
    return flat_spaces(env, settings.flatten)


def registered_spec(environment_id: str) -> EnvSpec | None:
    """What Gymnasium knows of an id, gymnasium-robotics' included where it is there."""
    task_of(environment_id).register_ids()
    if environment_id not in gymnasium.registry:
        with contextlib.suppress(ImportError):
            import gymnasium_robotics

            gymnasium.register_envs(gymnasium_robotics)
    return gymnasium.registry.get(environment_id)


def recorded_spec(spec: EnvSpec) -> tuple[str, tuple[str, ...]]:
    """What a recorded environment is made from again, besides its id.

    A wrapper whose arguments were not recorded (it does not inherit from Gymnasium's
    ``RecordConstructorArgs``) is made again where it takes none, else left out.

    Returns:
      (JSON of the spec, empty where the id alone makes the same environment; names of
      the wrappers that are left out).
    """
    wrappers = [_with_arguments(wrapper) for wrapper in spec.additional_wrappers]
    left_out = tuple(wrapper.name for wrapper in wrappers if wrapper.kwargs is None)
    kept = tuple(wrapper for wrapper in wrappers if wrapper.kwargs is not None)
    registered = registered_spec(spec.id)
    same = registered is not None and (
        registered.kwargs,
        registered.max_episode_steps,
        registered.additional_wrappers,
    ) == (spec.kwargs, spec.max_episode_steps, kept)
    if same:
        return "", left_out
    spec = EnvSpec.from_json(spec.to_json())
    spec.additional_wrappers = kept
    return spec.to_json(), left_out


def _with_arguments(wrapper: WrapperSpec) -> WrapperSpec:
    """`wrapper` with the arguments {} if it takes none but the environment."""
    if wrapper.kwargs is not None:
        return wrapper
    try:
        maker = load_env_creator(wrapper.entry_point)
        takes = list(inspect.signature(maker).parameters)
    except Exception:  # it cannot be imported, or looked at
        return wrapper
    return dataclasses.replace(wrapper, kwargs={}) if takes == ["env"] else wrapper


def time_limit(env: gymnasium.Env) -> int | None:
    """Steps after which Gymnasium cuts an episode of `env` off; None for never."""
    limits = []
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            limits.append(env._max_episode_steps)
        env = env.env
    return min(limits, default=None)


def action_bounds(space: gymnasium.Space) -> Bounds:
    """Those of a Box of finite bounds, flat; Bounds() of other spaces."""
    if not isinstance(space, Box) or not space.is_bounded():
        return Bounds()
    low, high = (np.asarray(end, np.float64).ravel() for end in (space.low, space.high))
    return Bounds(tuple(low.tolist()), tuple(high.tolist()))


def check_environment(settings: Environment, dims: Dimensions) -> None:
    """Makes the environment once, so that errors come before a training, not after.

    Raises:
      ConfigError: it cannot be made, or :func:`check_spaces` refuses it.
    """
    with contextlib.closing(make_environment(settings)) as env:
        check_spaces(env, settings, dims)


def check_spaces(env: gymnasium.Env, settings: Environment, dims: Dimensions) -> None:
    """Compares an environment with the data that a planner learned from.

    Raises:
      ConfigError: its spaces are not those of the data, or its episodes may never end.
    """
    spaces = {
        "observations": (env.observation_space, dims.environment_observation),
        "actions": (env.action_space, dims.action),
    }
    for name, (space, size) in spaces.items():
        if space.shape != (size,):
            raise ConfigError(
                f"config.environment.id: the data has {size}-dimensional {name}, "
                f"{settings.id} {space} (none trains without an environment)"
            )
    if time_limit(env) is None and settings.max_episode_steps is None:
        raise ConfigError(
            f"config.environment.max_episode_steps: expected a limit, as {settings.id} "
            "has none of its own and its episodes may never end, found None "
            "(--max_episode_steps of experiments.evaluate)"
        )


def check_bounds(env: gymnasium.Env, environment_id: str, known: Bounds) -> None:
    """Raises ConfigError when `known` bounds of actions are not the environment's."""
    found = action_bounds(env.action_space)
    if known != Bounds() and not (found != Bounds() and np.allclose(known, found)):
        raise ConfigError(
            f"config.environment.id: the data's environment takes actions from "
            f"{_numbers(known.low)} to {_numbers(known.high)}, {environment_id} "
            f"{env.action_space}"
        )


def check_action_range(
    env: gymnasium.Env, environment_id: str, low: np.ndarray, high: np.ndarray
) -> None:
    """Raises ConfigError when actions from `low` [A] to `high` [A] leave the bounds."""
    space_low, space_high = map(np.asarray, action_bounds(env.action_space))
    if space_low.shape != np.shape(low):
        return
    slack = _ROUNDING * (space_high - space_low)
    if (low < space_low - slack).any() or (high > space_high + slack).any():
        raise ConfigError(
            f"config.environment.id: the data's actions go from {_numbers(low)} to "
            f"{_numbers(high)}, {environment_id} takes {_numbers(space_low)} to "
            f"{_numbers(space_high)}"
        )


def checked_observation(observation, size: int) -> np.ndarray:
    """[O] float32 of what a step showed.

    Raises:
      ValueError: it is not finite, or not of `size` numbers.
    """
    with np.errstate(over="ignore"):
        observation = np.asarray(observation, np.float32)
    if observation.shape != (size,):
        raise ValueError(
            f"expected an observation of {size} numbers, found shape "
            f"{observation.shape}"
        )
    # One sum says it of nearly all; a sum may overflow.
    if not np.isfinite(observation.sum()) and not np.isfinite(observation).all():
        raise ValueError("expected a finite observation, found nan or inf")
    return observation


def checked_reward(reward) -> float:
    """What a step paid; ValueError where it is no finite number."""
    if np.ndim(reward) != 0:
        raise ValueError(
            f"expected a number as the reward, found shape {np.shape(reward)}"
        )
    reward = float(reward)
    if not math.isfinite(reward):
        raise ValueError(f"expected a finite reward, found {reward}")
    return reward


def _numbers(values) -> str:
    """Such as ``-1`` for many of them, or ``(0, 0.5)``."""
    texts = [f"{value:.4g}" for value in np.asarray(values)]
    return texts[0] if len(set(texts)) == 1 else f"({', '.join(texts)})"
