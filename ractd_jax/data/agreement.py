"""Whether the environment that evaluation makes is the one that the data came from."""

from __future__ import annotations

import contextlib
import dataclasses

import gymnasium
import numpy as np
from absl import logging

from ractd_jax.data.episodes import Episodes
from ractd_jax.data.origin import Origin
from ractd_jax.dimensions import Bounds, Dimensions
from ractd_jax.errors import ConfigError, DataError
from ractd_jax.settings import Environment
from ractd_jax.tasks.environments import (
    action_bounds,
    check_action_range,
    check_bounds,
    check_spaces,
    checked_observation,
    checked_reward,
    make_environment,
    time_limit,
)

# Steps that are replayed: a simulator that rounds otherwise drifts after more.
_REPLAYED = 20
_TOLERANCE = 1e-3
# Share of the actions at either end that says nothing of the bounds.
_RARE = 0.01


def compare_environment(
    environment: Environment,
    episodes: Episodes,
    origin: Origin,
    name: str,
    goal_size: int = 0,
) -> tuple[Environment, Bounds]:
    """Makes the environment once and compares it with the data, before a training.

    Spaces and bounds must agree, and nearly all actions lie within the bounds. The
    first recorded episode is replayed, where it is known how it was reset. An
    environment that cannot be made here, or none, stops no training: a warning says
    that nothing was compared.

    Args:
      environment: what evaluation makes.
      episodes: the data.
      origin: what the data says of its environment.
      name: of the data, for errors.
      goal_size: G, what the environment shows after the state; 0 for plans of actions.

    Returns:
      `environment`, with a time limit where it has none of its own, and the bounds of
      the data's actions.

    Raises:
      ConfigError: the environment's spaces or bounds are not the data's.
      DataError: wrappers cannot be made again, and without them the environment pays
        or shows something else than was recorded.
    """
    if not environment.id:
        return environment, origin.action_bounds
    try:
        env = make_environment(environment)
    except ConfigError as error:
        logging.warning(
            "%s; the data was not compared with it, and evaluations will need it", error
        )
        return environment, origin.action_bounds
    with contextlib.closing(env):
        own = environment.id == origin.environment_id
        environment = _with_limit(env, environment, episodes)
        sizes = Dimensions(
            episodes.observations.shape[1], episodes.actions.shape[1], 1, 1, goal_size
        )
        check_spaces(env, environment, sizes)
        check_bounds(env, environment.id, origin.action_bounds)
        if not own:
            # Single actions beyond the bounds are for the findings to name.
            ends = np.quantile(episodes.actions, (_RARE, 1.0 - _RARE), axis=0)
            check_action_range(env, environment.id, *ends)
        if own:
            # Plans of states leave the goals out of the data's observations.
            origin = origin._replace(reset=None) if goal_size else origin
            _replay(env, episodes, origin, name)
        known = origin.action_bounds
        if known == Bounds() and (own or not origin.environment_id):
            known = action_bounds(env.action_space)
        return environment, known


def _with_limit(env, environment: Environment, episodes: Episodes) -> Environment:
    """With the longest recorded episode's length where nothing else ends one."""
    if time_limit(env) is not None:
        return environment
    longest = int(episodes.lengths.max())
    logging.warning(
        "%s has no time limit: episodes of evaluations end after %d steps, as the "
        "longest recorded one did; config.environment.max_episode_steps sets another",
        environment.id,
        longest,
    )
    return dataclasses.replace(environment, max_episode_steps=longest)


def _replay(env: gymnasium.Env, episodes: Episodes, origin: Origin, name: str) -> None:
    """Compares what the first episode's actions give with what was recorded."""
    different = _first_difference(env, episodes, origin)
    missing = ", ".join(origin.left_out)
    if not missing:
        if different:
            logging.warning(
                "%s: a replay of its first episode in %s gives something else than was "
                "recorded (%s): the environment, its version or its arguments may not "
                "be those of the data",
                name,
                origin.environment_id,
                different,
            )
        return
    if different:
        raise DataError(
            name,
            field="eval_env",
            expected="wrappers that can be made again (gymnasium.utils."
            "RecordConstructorArgs), or that change nothing",
            found=f"{missing}; without them {different}. config.environment.id names "
            "another environment to evaluate in",
        )
    compared = "its first episode is paid as it was recorded"
    if different is None:
        compared = "whether it pays what was recorded could not be compared"
    logging.warning(
        "%s: wrappers that cannot be made again are left out (%s); without them %s",
        name,
        missing,
        compared,
    )


def _first_difference(
    env: gymnasium.Env, episodes: Episodes, origin: Origin
) -> str | None:
    """What differs first, in words; empty for nothing, None where nothing says it.

    An episode without a seed is only comparable where its reset is not random.
    """
    reset = origin.reset
    if reset is None:
        return None
    count = min(_REPLAYED, int(episodes.lengths[0]))
    try:
        observation, _ = env.reset(seed=reset.seed, options=reset.options)
        for step in range(count):
            recorded = episodes.observations[step]
            observation = checked_observation(observation, len(recorded))
            if not _close(observation, recorded):
                if reset.seed is None and step == 0:
                    return None
                gap = np.abs(observation.astype(np.float64) - recorded).max()
                return f"the observation of step {step} is off by {gap:.3g}"
            observation, reward, *_ = env.step(episodes.actions[step])
            reward = checked_reward(reward)
            if not _close(reward, episodes.rewards[step]):
                paid = f"{reward:.6g} where {episodes.rewards[step]:.6g}"
                return f"step {step} pays {paid} was recorded"
    except Exception as error:  # anything, from anybody's environment
        return f"a replay fails: {type(error).__name__}: {error}"
    return ""


def _close(found, recorded) -> bool:
    return np.allclose(found, recorded, rtol=_TOLERANCE, atol=_TOLERANCE)
