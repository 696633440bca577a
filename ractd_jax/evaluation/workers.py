"""Batches of environments, in this process or in one of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
from multiprocessing.connection import Connection
from typing import NamedTuple, Protocol

import numpy as np

from ractd_jax.dimensions import Dimensions
from ractd_jax.settings import Environment
from ractd_jax.tasks import task_of
from ractd_jax.tasks.environments import (
    check_spaces,
    checked_observation,
    checked_reward,
    make_environment,
)


class Outcome(NamedTuple):
    """The outcome of a reset or of one step of n environments.

    Attributes:
      observations: [n, O] float32 environment units; 0 where the step failed.
      rewards: [n].
      finished: [n] bool; those environments have left the batch.
      errors: row -> what went wrong, of the environments that failed.
      happened: [n, K] bool, the family's events (:meth:`Task.events`) until now; none
        at a reset.
    """

    observations: np.ndarray
    rewards: np.ndarray
    finished: np.ndarray
    errors: dict[int, str]
    happened: np.ndarray


class Environments(Protocol):
    """Environments that step together: ``start_step`` and then ``finish_step``."""

    def reset(self, seeds: list[int]) -> Outcome: ...

    def start_step(self, actions: np.ndarray) -> None: ...

    def finish_step(self) -> Outcome: ...

    def close(self) -> None: ...


class LocalEnvironments:
    """Environments in this process, which step when their outcome is requested.

    Whatever one of them raises, or a number that is not finite, ends its episode and
    no other.
    """

    def __init__(self, settings: Environment, num_envs: int, dims: Dimensions):
        self._size = dims.environment_observation
        self._task = task_of(settings.id)
        self._events = self._task.events(settings)
        self._envs = [make_environment(settings) for _ in range(num_envs)]
        check_spaces(self._envs[0], settings, dims)
        self._actions: np.ndarray | None = None

    def reset(self, seeds: list[int]) -> Outcome:
        def begin(env, seed):
            observation = checked_observation(env.reset(seed=seed)[0], self._size)
            return observation, 0.0, False, None

        return self._outcome(begin, seeds)

    def start_step(self, actions: np.ndarray) -> None:
        self._actions = actions

    def finish_step(self) -> Outcome:
        def step(env, action):
            observation, reward, terminated, truncated, info = env.step(action)
            observation = checked_observation(observation, self._size)
            finished = bool(terminated or truncated)
            return observation, checked_reward(reward), finished, info

        return self._outcome(step, self._actions)

    def _outcome(self, act, inputs) -> Outcome:
        """What `act` gives in each environment; finished ones are closed."""
        count = len(self._envs)
        observations = np.zeros((count, self._size), np.float32)
        rewards, finished = np.zeros(count), np.zeros(count, bool)
        happened = np.zeros((count, len(self._events)), bool)
        errors = {}
        for row, (env, given) in enumerate(zip(self._envs, inputs, strict=True)):
            try:
                observations[row], rewards[row], finished[row], info = act(env, given)
                if self._events and info is not None:
                    found = self._task.happened(info)
                    happened[row] = [name in found for name in self._events]
            except Exception as error:  # anything, from anybody's environment
                finished[row] = True
                errors[row] = " ".join(f"{type(error).__name__}: {error}".split())
        for row in np.flatnonzero(finished):
            _close(self._envs[row])
        ended = zip(self._envs, finished, strict=True)
        self._envs = [env for env, done in ended if not done]
        return Outcome(observations, rewards, finished, errors, happened)

    def close(self) -> None:
        for env in self._envs:
            _close(env)


def _close(env) -> None:
    """What goes wrong while an episode is put away changes no result."""
    with contextlib.suppress(Exception):
        env.close()


def _serve(
    connection: Connection, settings: Environment, num_envs: int, dims: Dimensions
) -> None:
    """Answers each request with (result, None) or (None, exception)."""
    try:
        environments = LocalEnvironments(settings, num_envs, dims)
    except Exception as error:
        connection.send((None, error))
        return
    connection.send((None, None))
    # The other end closes when its process ends, however it does.
    with contextlib.suppress(EOFError, ConnectionError, KeyboardInterrupt):
        while True:
            request, value = connection.recv()
            try:
                if request == "reset":
                    result = environments.reset(value)
                else:
                    environments.start_step(value)
                    result = environments.finish_step()
                connection.send((result, None))
            except Exception as error:
                connection.send((None, error))


class EnvironmentProcess:
    """Environments that step in a process of their own, beside this one's work.

    The process is spawned, not forked: a fork of a process that runs JAX may hang. It
    therefore knows only the environments that importing packages registers.
    """

    def __init__(self, settings: Environment, num_envs: int, dims: Dimensions):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, settings, num_envs, dims), daemon=True
        )
        self._process.start()
        theirs.close()
        self._ready = False

    def _died(self) -> RuntimeError:
        self._process.join()
        return RuntimeError(
            "a process of environments ended with exit code "
            f"{self._process.exitcode}; config.evaluation.num_workers=0 steps them in "
            "this process"
        )

    def _send(self, *request) -> None:
        try:
            self._connection.send(request)
        except ConnectionError:
            raise self._died() from None

    def _receive(self):
        try:
            result, error = self._connection.recv()
        except (EOFError, ConnectionError):
            raise self._died() from None
        if error is not None:
            raise error
        return result

    def reset(self, seeds: list[int]) -> Outcome:
        if not self._ready:
            self._receive()
            self._ready = True
        self._send("reset", seeds)
        return self._receive()

    def start_step(self, actions: np.ndarray) -> None:
        self._send("step", actions)

    def finish_step(self) -> Outcome:
        return self._receive()

    def close(self) -> None:
        self._connection.close()
        self._process.join()
