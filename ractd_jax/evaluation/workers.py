"""Batches of environments, in this process or in one of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
from multiprocessing.connection import Connection
from typing import NamedTuple, Protocol

import numpy as np

from ractd_jax.dimensions import Dimensions
from ractd_jax.settings import Environment
from ractd_jax.tasks.environments import (
    as_vector,
    check_spaces,
    make_vector_env,
)


class Outcome(NamedTuple):
    """The outcome of one step of n environments.

    Attributes:
      observations: [n, O] environment units.
      rewards: [n].
      finished: [n] bool; those environments have left the batch.
    """

    observations: np.ndarray
    rewards: np.ndarray
    finished: np.ndarray


class Environments(Protocol):
    """Environments that step together: ``start_step`` and then ``finish_step``."""

    def reset(self, seeds: list[int]) -> np.ndarray: ...

    def start_step(self, actions: np.ndarray) -> None: ...

    def finish_step(self) -> Outcome: ...

    def close(self) -> None: ...


class LocalEnvironments:
    """Environments in this process, which step when their outcome is requested."""

    def __init__(self, settings: Environment, num_envs: int, dims: Dimensions):
        self._vector = make_vector_env(settings, num_envs)
        vector = self._vector
        check_spaces(vector.single_observation_space, vector.single_action_space, dims)
        self._actions: np.ndarray | None = None

    def reset(self, seeds: list[int]) -> np.ndarray:
        return self._vector.reset(seed=seeds)[0]

    def start_step(self, actions: np.ndarray) -> None:
        self._actions = actions

    def finish_step(self) -> Outcome:
        observations, rewards, terminated, truncated, _ = self._vector.step(
            self._actions
        )
        finished = terminated | truncated
        # The last ones are closed by close().
        if finished.any() and not finished.all():
            envs = list(zip(self._vector.envs, finished, strict=True))
            for env, done in envs:
                if done:
                    env.close()
            self._vector = as_vector([env for env, done in envs if not done])
        return Outcome(observations, rewards, finished)

    def close(self) -> None:
        self._vector.close()


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

    def reset(self, seeds: list[int]) -> np.ndarray:
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
