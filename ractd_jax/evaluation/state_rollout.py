"""Evaluation of plans of states: a controller follows them, open loop or replanned."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.results import StateResults
from ractd_jax.evaluation.rollout import EpisodeKeys, run_episodes
from ractd_jax.evaluation.video import Film
from ractd_jax.planning import Planner
from ractd_jax.planning.controllers import ControllerFn, make_controller
from ractd_jax.planning.inverse_dynamics import InverseDynamicsModel
from ractd_jax.settings import Controller, Environment
from ractd_jax.tasks import Task, get_task, task_of


class FollowPlans:
    """Makes plans of states and follows them with a controller.

    A new plan is made at the beginning, every `replan_every` steps (None: never) and
    when the goal has changed.
    """

    def __init__(
        self,
        planner: Planner,
        controller: ControllerFn,
        replan_every: int | None,
        keys: EpisodeKeys,
        num_episodes: int,
        task: Task,
        environment_id: str,
    ):
        self._planner, self._controller, self._keys = planner, controller, keys
        self._task, self._blocked = task, task.blocked(environment_id)
        never = np.iinfo(np.int32).max
        self._replan_every = never if replan_every is None else replan_every
        dims = planner.dims
        self._plans = np.zeros((num_episodes, *dims.plan_shape), np.float32)
        self._goals = np.full((num_episodes, dims.goal), np.nan, np.float32)
        # So that the first plan is due at step 0.
        self._made = np.full(num_episodes, -self._replan_every, np.int64)
        self._sizes: set[int] = set()
        self._seconds: list[float] = []
        self.compile_seconds = 0.0
        self.collided: list[np.ndarray] = []
        self.first_plans = self._plans.copy()
        self.first_goals = self._goals.copy()

    @property
    def seconds_per_plan(self) -> float:
        return float(np.mean(self._seconds)) if self._seconds else float("nan")

    def act(
        self, observations: np.ndarray, episodes: np.ndarray, step: int
    ) -> np.ndarray:
        observations = observations[:, -1]
        states, goals = self._task.split(observations, self._planner.dims.goal)
        due = step - self._made[episodes] >= self._replan_every
        due |= (goals != self._goals[episodes]).any(axis=-1)
        if due.any():
            self._plan(observations[due], goals[due], episodes[due], step)
        return self._controller(
            states, self._plans[episodes], step - self._made[episodes]
        )

    def plans_of(self, episodes: np.ndarray) -> np.ndarray:
        """[n, H, O] the plans that these episodes follow."""
        return self._plans[episodes]

    def _plan(self, observations, goals, episodes, step):
        # Few sizes, so that few programs are compiled.
        size = 1 << (len(episodes) - 1).bit_length()
        size = min(size, len(self._plans))
        rows = np.resize(np.arange(len(episodes)), size)
        keys = self._keys(episodes[rows], step)
        start = time.perf_counter()
        plans = np.asarray(self._planner.plan(observations[rows], keys))
        seconds = time.perf_counter() - start
        if size in self._sizes:
            self._seconds += [seconds / size] * len(episodes)
        else:
            self._sizes.add(size)
            self.compile_seconds += seconds
        plans = plans[: len(episodes)]
        if self._blocked is not None:
            self.collided.append(self._blocked(plans))
        self._plans[episodes] = plans
        self._made[episodes] = step
        self._goals[episodes] = goals
        if step == 0:
            self.first_plans[episodes] = plans
            self.first_goals[episodes] = goals


def evaluate_state_planner(
    planner: Planner,
    controller: ControllerFn,
    environment: Environment,
    num_episodes: int,
    seed: int,
    *,
    replan_every: int | None = None,
    noise: str = "each_step",
    on_step: Callable[[int, int], None] | None = None,
    film: Film | None = None,
) -> StateResults:
    """Episodes of a planner of states, from the state and the goal that it sees.

    Args:
      planner: a planner of states, whose observations are the state, then the goal
        if it has one.
      controller: a controller from :mod:`ractd_jax.planning.controllers`.
      environment: the environment to make.
      num_episodes: E.
      seed: seed of the first reset.
      replan_every: steps between plans; None for one plan an episode.
      noise: ``each_step`` or ``each_episode``.
      on_step: called with (step, episodes still running).
      film: keeps what the first episodes do, and their plans.
    """
    keys = EpisodeKeys(num_episodes, seed, noise)
    task, dims = task_of(environment.id), planner.dims
    policy = FollowPlans(
        planner, controller, replan_every, keys, num_episodes, task, environment.id
    )
    passed: list[np.ndarray] = []

    def on_observations(observations, episodes, step):
        states = np.full((num_episodes, dims.observation), np.nan, np.float32)
        states[episodes] = task.split(observations, dims.goal)[0]
        passed.append(states)

    episodes = run_episodes(
        policy,
        dims,
        environment,
        seed + np.arange(num_episodes),
        on_step,
        on_observations,
        on_actions=film
        and (lambda actions, of: film.see(actions, of, policy.plans_of(of))),
    )
    return StateResults(
        episodes,
        np.stack(passed, axis=1),
        policy.first_plans,
        policy.first_goals,
        task.success(episodes.returns),
        np.concatenate(policy.collided) if policy.collided else np.zeros(0, bool),
        policy.seconds_per_plan,
    )


def evaluate_controlled(
    planner: Planner,
    options: Controller,
    environment: Environment,
    num_episodes: int,
    seed: int,
    *,
    model: InverseDynamicsModel | None = None,
    noise: str = "each_step",
    on_step: Callable[[int, int], None] | None = None,
    film: Film | None = None,
) -> StateResults:
    """:func:`evaluate_state_planner` with the controller that settings name.

    Args:
      planner: a planner of states.
      options: the controller and how often to plan.
      environment: what to make.
      num_episodes: E.
      seed: seed of the first reset.
      model: the model of controller ``inverse_dynamics``.
      noise: ``each_step`` or ``each_episode``.
      on_step: called with (step, episodes still running).
      film: as of :func:`evaluate_state_planner`.

    Raises:
      ConfigError: the controller needs a model and none is given, or plans have
        elements.
    """
    if planner.dims.elements:
        raise ConfigError(
            "config.plan.elements: expected 'none' in an evaluation, as no environment "
            f"shows them, found {planner.settings.plan.elements!r}"
        )
    settings = dataclasses.replace(planner.settings, controller=options)
    return evaluate_state_planner(
        planner,
        make_controller(settings, model, get_task(planner.dims.family)),
        environment,
        num_episodes,
        seed,
        replan_every=options.replan_every,
        noise=noise,
        on_step=on_step,
        film=film,
    )
