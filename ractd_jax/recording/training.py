"""Trains a behaviour policy and keeps snapshots from random to expert.

With SBX, or with our PPO where actions are discrete.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
from absl import logging

from ractd_jax.errors import ConfigError
from ractd_jax.files import check_writable
from ractd_jax.recording import behaviour
from ractd_jax.tasks.environments import registered_spec

_LEAST_PPO_STEPS = 64  # a minibatch


@dataclasses.dataclass(frozen=True)
class BehaviourTraining:
    """How a behaviour policy is trained.

    Attributes:
      env: Gymnasium id.
      algorithm: ``tqc`` or ``sac`` of SBX, or ``ppo``, for discrete actions.
      total_steps: environment steps.
      snapshot_every: environment steps between snapshots.
      eval_episodes: stochastic episodes that rate a snapshot.
      num_replay: snapshots to keep for the replay mixture.
      actor_widths: of the actor's hidden layers.
      critic_widths: of the critics' hidden layers.
      learning_rate: of all networks.
      discount: of the returns that it maximises.
      entropy: of the actions, that SBX learns the temperature for; nats for each number
        of an action.
      update_every: environment steps between rounds of updates; of ppo at least 64.
      updates_per_step: updates of a round for each of its environment steps.
      seed: of the training.
    """

    env: str
    algorithm: str
    total_steps: int
    snapshot_every: int
    eval_episodes: int
    num_replay: int
    actor_widths: tuple[int, ...]
    critic_widths: tuple[int, ...]
    learning_rate: float
    discount: float
    entropy: float
    update_every: int
    updates_per_step: float
    seed: int


def train_behaviour(
    options: BehaviourTraining, workdir: Path, output: Path, command: str
) -> None:
    """Trains a policy; writes the chosen snapshots so far at every snapshot.

    Args:
      options: of the training.
      workdir: gets ``returns.jsonl``, the returns of every snapshot.
      output: policy file.
      command: that made it, for the file's metadata.

    Raises:
      ConfigError: SBX is not installed.
      DataError: the files cannot be written.
    """
    if options.algorithm != "ppo" and importlib.util.find_spec("sbx") is None:
        raise ConfigError(
            "--algorithm: expected the sbx-rl package (pip install "
            "ractd_jax[behaviour]), found none"
        )
    spec = registered_spec(options.env) or options.env
    _check_algorithm(options, gymnasium.make(spec))
    check_writable(output, workdir / "returns.jsonl")
    workdir.mkdir(parents=True, exist_ok=True)
    env = gymnasium.make(spec)
    steps, policies, returns = [], [], []

    def record(env_steps, policy):
        episodes = [
            _episode_return(env, policy, s) for s in range(options.eval_episodes)
        ]
        steps.append(env_steps)
        policies.append(policy)
        returns.append(float(np.mean(episodes)))
        logging.info("%d env steps: return %.0f", env_steps, returns[-1])
        with open(workdir / "returns.jsonl", "a") as log:
            row = {"env_steps": env_steps, "returns": episodes}
            log.write(json.dumps(row) + "\n")
        snapshots = _chosen_snapshots(options, command, steps, policies, returns)
        behaviour.save_snapshots(output, snapshots)

    run = _run_ppo if options.algorithm == "ppo" else _run_sbx
    run(options, gymnasium.make(spec), record)


def _check_algorithm(options: BehaviourTraining, env: gymnasium.Env) -> None:
    """Raises ConfigError for actions that the algorithm does not have."""
    space, wanted = env.action_space, options.algorithm
    if isinstance(space, gymnasium.spaces.Discrete) != (wanted == "ppo"):
        kind = "discrete" if wanted == "ppo" else "continuous"
        raise ConfigError(
            f"--algorithm={wanted}: expected an environment of {kind} actions, found "
            f"{options.env} with {space}"
        )
    if wanted == "ppo" and options.update_every < _LEAST_PPO_STEPS:
        raise ConfigError(
            f"--update_every: expected at least {_LEAST_PPO_STEPS} environment steps "
            f"with --algorithm=ppo, found {options.update_every}"
        )


def _policy_from_sbx(params, action_space) -> behaviour.BehaviourPolicy:
    """Copies an SBX actor's Dense layers; the last two are mean and log_std."""
    layers = [params[f"Dense_{i}"] for i in range(len(params))]
    *hidden, mean, log_std = layers
    head_w = np.concatenate([mean["kernel"], log_std["kernel"]], axis=-1)
    head_b = np.concatenate([mean["bias"], log_std["bias"]], axis=-1)
    return behaviour.BehaviourPolicy(
        weights=(*(np.array(layer["kernel"]) for layer in hidden), head_w),
        biases=(*(np.array(layer["bias"]) for layer in hidden), head_b),
        action_low=action_space.low,
        action_high=action_space.high,
    )


def _episode_return(env, policy, seed: int) -> float:
    """True return of one stochastic episode."""
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    total, done = 0.0, False
    while not done:
        action = policy.act(observation[None], policy.noise(rng))[0]
        observation, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        done = terminated or truncated
    return total


def _run_sbx(
    options: BehaviourTraining,
    env: gymnasium.Env,
    record: Callable[[int, behaviour.Behaviour], None],
) -> None:
    """Calls `record(env_steps, policy)` at every snapshot."""
    import sbx
    from stable_baselines3.common.callbacks import BaseCallback

    class Snapshots(BaseCallback):
        def _on_training_start(self):
            self._record()

        def _on_step(self):
            if self.num_timesteps % options.snapshot_every == 0:
                self._record()
            return True

        def _record(self):
            params = self.model.policy.actor_state.params["params"]
            policy = _policy_from_sbx(params, self.training_env.action_space)
            record(self.num_timesteps, policy)

    widths = {"pi": list(options.actor_widths), "qf": list(options.critic_widths)}
    algorithm = {"tqc": sbx.TQC, "sac": sbx.SAC}[options.algorithm]
    model = algorithm(
        "MlpPolicy",
        env,
        seed=options.seed,
        gamma=options.discount,
        target_entropy=options.entropy * np.prod(env.action_space.shape),
        learning_rate=options.learning_rate,
        learning_starts=5_000,
        train_freq=options.update_every,
        gradient_steps=max(1, round(options.update_every * options.updates_per_step)),
        policy_kwargs={"net_arch": widths},
    )
    model.learn(options.total_steps, callback=Snapshots())


def _run_ppo(
    options: BehaviourTraining,
    env: gymnasium.Env,
    record: Callable[[int, behaviour.Behaviour], None],
) -> None:
    """Calls `record(env_steps, policy)` after the updates that reach a snapshot."""
    from ractd_jax.online.gym import train_ppo
    from ractd_jax.online.ppo import PpoOptions

    ppo = PpoOptions(
        num_steps=options.update_every,
        learning_rate=options.learning_rate,
        discount=options.discount,
    )
    due = 0

    def on_update(env_steps, params, info):
        nonlocal due
        logging.info("%d env steps: %s", env_steps, info)
        if env_steps >= min(due, options.total_steps):
            due += options.snapshot_every
            record(env_steps, policy_from_actor(params))

    widths = options.actor_widths
    train_ppo([env], ppo, options.total_steps, options.seed, widths, on_update)


def policy_from_actor(params) -> behaviour.CategoricalPolicy:
    """The actor of :class:`ractd_jax.online.ppo.ActorCritic` in numpy."""
    depth = sum(name.startswith("actor_") for name in params) - 1
    names = [f"actor_{i}" for i in range(depth)] + ["actor_out"]
    return behaviour.CategoricalPolicy(
        tuple(np.array(params[name]["kernel"]) for name in names),
        tuple(np.array(params[name]["bias"]) for name in names),
    )


def _chosen_snapshots(
    options: BehaviourTraining, command: str, steps, policies, returns
) -> behaviour.PolicySnapshots:
    """Of those so far, so that a stopped training keeps them."""
    chosen = behaviour.choose_snapshots(returns, options.num_replay)
    names = {i: f"step_{steps[i]:07d}" for i in chosen["replay"]}
    metadata = {
        "environment": options.env,
        "algorithm": options.algorithm,
        "seed": options.seed,
        "command": command,
        "roles": {role: names[chosen[role]] for role in ("medium", "expert")},
        "snapshots": {
            name: {"env_steps": steps[i], "return_mean": returns[i]}
            for i, name in names.items()
        },
    }
    kept = {name: policies[i] for i, name in names.items()}
    return behaviour.PolicySnapshots(kept, metadata)
