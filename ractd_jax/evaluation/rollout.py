"""Closed-loop evaluation: one episode per environment and seed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Protocol

import jax
import numpy as np
from absl import logging

from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.events import Events
from ractd_jax.evaluation.results import EpisodeResults
from ractd_jax.evaluation.video import Film
from ractd_jax.evaluation.workers import (
    EnvironmentProcess,
    Environments,
    LocalEnvironments,
    Outcome,
)
from ractd_jax.inputs import KEY_IMPL
from ractd_jax.planning import Planner
from ractd_jax.settings import Environment
from ractd_jax.tasks.environments import (
    check_action_range,
    check_bounds,
    check_spaces,
    make_environment,
)

_SHOWN_FAILURES = 3


class Policy(Protocol):
    """Something that acts in episodes and may have a memory of each.

    ``act(observations [n, h, O], episodes [n], step) -> actions [n, A]``: the latest
    observations of those `episodes` (their numbers) that still run.

    Attributes:
      compile_seconds: time spent on compiling so far.
    """

    compile_seconds: float

    def act(
        self, observations: np.ndarray, episodes: np.ndarray, step: int
    ) -> np.ndarray: ...


class EpisodeKeys:
    """Noise of an episode that depends on its seed and step only.

    fold_in(fold_in(key(seed), e), step); with ``noise="each_episode"`` the step is left
    out: every plan of an episode starts from the same noise, which sampling maps to
    the same mode in nearby states.
    """

    def __init__(self, num_episodes: int, seed: int, noise: str):
        self.num_episodes = num_episodes
        self._keys = jax.vmap(jax.random.fold_in, (None, 0))(
            jax.random.key(seed, impl=KEY_IMPL), np.arange(num_episodes)
        )
        # With the choice of the episodes: outside it would cost as much as a plan.
        self._fold = jax.jit(
            lambda keys, episodes, step: jax.vmap(jax.random.fold_in, (0, None))(
                keys[episodes], step
            )
        )
        self._noise = noise

    def __call__(self, episodes: np.ndarray, step: int) -> jax.Array:
        step = step if self._noise == "each_step" else 0
        return self._fold(self._keys, episodes, step)


class ClosedLoop:
    """Executes the first k actions of a plan, then plans again (``plan.execute``).

    The planner's batch halves with the episodes that still run, so that few programs
    are compiled.
    """

    def __init__(self, planner: Planner, keys: EpisodeKeys):
        self._planner, self._keys = planner, keys
        self._execute = planner.execute
        self._held = np.zeros(0)
        self._sizes: list[int] = []
        self.compile_seconds = 0.0

    def act(
        self, observations: np.ndarray, episodes: np.ndarray, step: int
    ) -> np.ndarray:
        offset = step % self._execute
        if offset == 0:
            plans = self._plan(observations, episodes, step)
            if len(self._held) == 0:
                shape = (self._keys.num_episodes, *plans.shape[1:])
                self._held = np.zeros(shape, plans.dtype)
            self._held[episodes] = plans
        return self._held[episodes, offset]

    def _plan(self, observations, episodes, step):
        size = self._sizes[0] if self._sizes else len(episodes)
        while len(episodes) <= size // 2:
            size //= 2
        if size not in self._sizes:
            self._sizes.append(size)
            start = time.perf_counter()
            self._sample(observations, episodes, 0, size)
            self.compile_seconds += time.perf_counter() - start
        return self._sample(observations, episodes, step, size)

    def _sample(self, observations, episodes, step, size):
        """[n, k, A] the actions to execute."""
        rows = np.resize(np.arange(len(episodes)), size)
        keys = self._keys(episodes[rows], step)
        if self._planner.dims.history == 1:
            observations = observations[:, 0]
        if self._execute == 1:
            actions = self._planner.act(observations[rows], keys)[:, None]
        else:
            plans = self._planner.plan(observations[rows], keys)[:, : self._execute]
            actions = self._planner.dims.actions_of(plans)
        return np.asarray(actions)[: len(episodes)]


class _Group:
    """Episodes whose environments step together, and the policy's view of them."""

    def __init__(self, environments: Environments, episodes: np.ndarray):
        self.environments, self.alive = environments, episodes
        self.history = np.zeros(0, np.float32)

    def reset(self, seeds: np.ndarray, history: int) -> tuple[np.ndarray, Outcome]:
        """As :meth:`finish_step`."""
        outcome = self.environments.reset(seeds.tolist())
        self.history = np.repeat(outcome.observations[:, None], history, axis=1)
        return self._left(outcome)

    def finish_step(self) -> tuple[np.ndarray, Outcome]:
        """The episodes that stepped and their outcome; finished episodes leave."""
        outcome = self.environments.finish_step()
        latest = outcome.observations[:, None]
        self.history = np.concatenate([self.history[:, 1:], latest], axis=1)
        return self._left(outcome)

    def _left(self, outcome):
        episodes, running = self.alive, ~outcome.finished
        self.alive, self.history = episodes[running], self.history[running]
        return episodes, outcome


class Failures:
    """Which episodes an environment broke off, where and why."""

    def __init__(self, environment_id: str, seeds: np.ndarray):
        self._id, self._seeds = environment_id, seeds
        self._lines = [""] * len(seeds)

    @property
    def lines(self) -> np.ndarray:
        """[E] strings, as of :class:`EpisodeResults`."""
        return np.array(self._lines, "U")

    def add(self, episodes: np.ndarray, outcome: Outcome, step: int) -> None:
        """Keeps those of an outcome, whose rows are `episodes`."""
        for row, error in outcome.errors.items():
            episode = episodes[row]
            place = f"episode {episode}, seed {self._seeds[episode]}, step {step}"
            self._lines[episode] = f"{self._id}: {place}: {error}"

    def report(self) -> None:
        """Logs them; ConfigError where no episode is left."""
        found = [line for line in self._lines if line]
        if found and len(found) == len(self._seeds):
            raise ConfigError(f"every episode failed, the first in {found[0]}")
        for line in found[:_SHOWN_FAILURES]:
            logging.warning("broken off, and counted as it was then: %s", line)
        if found:
            count = f"{len(found)} of {len(self._seeds)}"
            logging.warning("%s episodes were broken off by the environment", count)


def run_episodes(
    policy: Policy,
    dims: Dimensions,
    environment: Environment,
    seeds: np.ndarray,
    on_step: Callable[[int, int], None] | None = None,
    on_observations: Callable[[np.ndarray, np.ndarray, int], None] | None = None,
    num_workers: int = 0,
    on_actions: Callable[[np.ndarray, np.ndarray], None] | None = None,
) -> EpisodeResults:
    """Runs one episode in each of E environments; finished ones leave the batch.

    Args:
      policy: the policy that acts.
      dims: the planner's sizes, to check the environment and keep the history.
      environment: the environment to make.
      seeds: [E] seeds of the resets.
      on_step: called with (step, episodes still running).
      on_observations: called with (observations [n, O], episodes [n], step), the
        first ones included.
      num_workers: W processes that each step E / W of the environments while the
        policy acts in the others; with 0 this process steps them all. The policy then
        sees E / W episodes a call, which changes the rounding of its products.
      on_actions: called with (actions [n, A], episodes [n]) of every step.

    An environment that raises something, or whose numbers are not finite, ends its
    episode: what it paid until then counts, and the results name it.

    Raises:
      ConfigError: the environment cannot be made, is not the data's, or fails in every
        episode.
      RuntimeError: a worker was killed.
    """
    num_episodes = len(seeds)
    make = EnvironmentProcess if num_workers else LocalEnvironments
    shares = np.array_split(np.arange(num_episodes), max(num_workers, 1))
    with contextlib.ExitStack() as stack:
        groups = []
        for episodes in filter(len, shares):
            environments = make(environment, len(episodes), dims)
            stack.callback(environments.close)
            groups.append(_Group(environments, episodes))
        returns, running_max = np.zeros((2, num_episodes))
        best = np.full(num_episodes, -np.inf)
        lengths = np.zeros(num_episodes, np.int64)
        failures = Failures(environment.id, seeds)
        events = Events(environment, num_episodes)
        for group in groups:
            failures.add(*group.reset(seeds[group.alive], dims.history), step=0)
        groups = [group for group in groups if len(group.alive)]

        def act(group, step):
            if on_observations is not None:
                on_observations(group.history[:, -1], group.alive, step)
            actions = policy.act(group.history, group.alive, step)
            if on_actions is not None:
                on_actions(actions, group.alive)
            group.environments.start_step(actions)

        begin, step = time.perf_counter(), 0
        for group in groups:
            act(group, step)
        while groups:
            step += 1
            for group in groups:
                episodes, outcome = group.finish_step()
                failures.add(episodes, outcome, step)
                events.add(episodes, outcome, step)
                lengths[episodes] += 1
                returns[episodes] += outcome.rewards
                best[episodes] = np.maximum(best[episodes], outcome.rewards)
                running_max[episodes] += best[episodes]
                if len(group.alive):
                    act(group, step)
            groups = [group for group in groups if len(group.alive)]
            if on_step is not None:
                on_step(step, sum(len(group.alive) for group in groups))
        seconds = time.perf_counter() - begin - policy.compile_seconds
    failures.report()
    return EpisodeResults(
        *(returns, lengths, seeds, running_max, seconds, failures.lines),
        *(events.steps, events.names),
    )


def check_actions(planner: Planner, environment: Environment) -> None:
    """Raises ConfigError when the environment takes other actions than the data's.

    Plans of states have no actions, and an exported policy keeps no bounds of them.
    """
    if planner.dims.plans_states or not isinstance(planner, Planner):
        return
    with contextlib.closing(make_environment(environment)) as env:
        check_spaces(env, environment, planner.dims)
        check_bounds(env, environment.id, planner.action_bounds)
        if environment.id != planner.settings.environment.id:
            normalizer = planner.action_normalizer
            ends = normalizer.low, normalizer.high
            check_action_range(env, environment.id, *ends)


def evaluate_planner(
    planner: Planner,
    environment: Environment,
    num_episodes: int,
    seed: int,
    noise: str = "each_step",
    on_step: Callable[[int, int], None] | None = None,
    num_workers: int = 0,
    film: Film | None = None,
) -> EpisodeResults:
    """Episodes of a planner of actions, replanning after ``plan.execute`` steps.

    Episode e is reset with ``seed + e``. Its result depends on that seed only, not on
    the other episodes.

    Args:
      planner: the planner.
      environment: the environment to make.
      num_episodes: E.
      seed: seed of the first reset.
      noise: ``each_step`` or ``each_episode``, see :class:`EpisodeKeys`.
      on_step: called with (step, episodes still running).
      num_workers: see :func:`run_episodes`.
      film: keeps what the first episodes do.

    Raises:
      ConfigError: see :func:`run_episodes`; or the environment is not the one that the
        planner is for, and takes other actions.
    """
    check_actions(planner, environment)
    policy = ClosedLoop(planner, EpisodeKeys(num_episodes, seed, noise))
    return run_episodes(
        policy,
        planner.dims,
        environment,
        seed + np.arange(num_episodes),
        on_step,
        num_workers=num_workers,
        on_actions=film and (lambda *seen: film.see(*seen, None)),
    )
