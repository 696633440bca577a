"""On-policy training on Gymnasium environments of discrete actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.online.ppo import (
    ActorCritic,
    Learner,
    PpoOptions,
    Steps,
    init_learner,
    make_act,
    make_update,
)


def train_ppo(
    envs: Sequence[gymnasium.Env],
    options: PpoOptions,
    num_env_steps: int,
    seed: int,
    widths: Sequence[int] = (256, 256),
    on_update: Callable[[int, Any, dict[str, float]], None] | None = None,
) -> tuple[ActorCritic, Any]:
    """Trains a policy; (network, parameters).

    Args:
      envs: N of one kind, stepped in turn; vectors as observations.
      options: of the training.
      num_env_steps: steps of all environments together, rounded up to whole updates.
      seed: of the first weights, of everything drawn and of the resets.
      widths: of the network.
      on_update: called with (env steps so far, parameters, scalars of the update, among
        them the mean ``return`` of the episodes that ended in it, NaN without any).
    """
    network = ActorCritic(int(envs[0].action_space.n), tuple(widths))
    size = int(np.prod(envs[0].observation_space.shape))
    learner = init_learner(network, options, size, seed)
    act, update = make_act(network), make_update(network, options)
    gather = _Gatherer(envs, options, seed, act, network)
    done = 0
    while done < num_env_steps:
        learner, steps, returns = gather(learner)
        learner, info = update(learner, steps)
        done += steps.rewards.size
        if on_update is not None:
            mean = float(np.mean(returns)) if returns else float("nan")
            scalars = {name: float(value) for name, value in info.items()}
            on_update(done, learner.params, {**scalars, "return": mean})
    return network, jax.device_get(learner.params)


class _Gatherer:
    """Steps the environments, and keeps where they are between updates."""

    def __init__(self, envs, options, seed, act, network):
        self._envs, self._options, self._act = envs, options, act
        self._values = jax.jit(lambda p, x: network.apply({"params": p}, x)[1])
        self._observations = np.stack(
            [_vector(env.reset(seed=seed + i)[0]) for i, env in enumerate(envs)]
        )
        self._returns = np.zeros(len(envs))
        self._available = np.ones((len(envs), network.num_actions), bool)

    def __call__(self, learner: Learner) -> tuple[Learner, Steps, list[float]]:
        rows, finished = [], []
        for _ in range(self._options.num_steps):
            seen = self._observations
            learner, *acted = self._act(learner, seen, self._available)
            actions, log_probs, values = map(np.asarray, acted)
            after, rewards, terminated, ends = self._step(actions, finished)
            discounts = self._options.discount * (1.0 - terminated)
            rows.append(
                (seen, self._available, actions, log_probs, values)
                + (rewards, discounts, after, ends)
            )
        columns = [np.stack(column) for column in zip(*rows, strict=True)]
        steps = Steps(*columns)
        # Of all states at once, also those that a reset has replaced.
        values = self._values(learner.params, jnp.asarray(steps.next_values))
        return learner, steps._replace(next_values=np.asarray(values)), finished

    def _step(self, actions, finished):
        number = len(self._envs)
        after = np.empty_like(self._observations)
        rewards, terminated, ends = np.zeros(number), np.zeros(number), np.zeros(number)
        following = np.empty_like(after)
        for i, env in enumerate(self._envs):
            state, rewards[i], over, cut, _ = env.step(int(actions[i]))
            after[i] = _vector(state)
            self._returns[i] += rewards[i]
            terminated[i], ends[i] = over, over or cut
            if over or cut:
                finished.append(float(self._returns[i]))
                self._returns[i] = 0.0
                state, _ = env.reset()
            following[i] = _vector(state)
        self._observations = following
        return after, rewards, terminated, ends.astype(bool)


def _vector(observation) -> np.ndarray:
    return np.asarray(observation, np.float32).ravel()
