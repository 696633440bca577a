"""Trains a behaviour policy with SBX and keeps snapshots from random to expert.

  pip install -e .[behaviour]
  python -m experiments.train_behaviour --env=Hopper-v5 --total_steps=400000 \
      --workdir=/tmp/behaviour/hopper --output=ractd_jax/data/assets/hopper.npz

Only needed to make new behaviour policies: those for Hopper are shipped.
"""

import json
import shlex
import sys
from pathlib import Path

import gymnasium
import numpy as np
from absl import app, flags, logging

from ractd_jax.data import behaviour

FLAGS = flags.FLAGS
flags.DEFINE_string("env", "Hopper-v5", "Gymnasium id of the environment to solve.")
flags.DEFINE_enum("algorithm", "tqc", ["tqc", "sac"], "SBX algorithm.")
flags.DEFINE_integer("total_steps", 400_000, "Environment steps of the training.")
flags.DEFINE_integer("snapshot_every", 10_000, "Environment steps between snapshots.")
flags.DEFINE_integer("eval_episodes", 10, "Stochastic episodes that rate a snapshot.")
flags.DEFINE_integer("num_replay", 10, "Snapshots to keep for the replay mixture.")
flags.DEFINE_list("actor_widths", ["128", "128"], "Hidden widths of the actor.")
flags.DEFINE_list("critic_widths", ["256", "256"], "Hidden widths of the critics.")
flags.DEFINE_float("learning_rate", 3e-4, "Learning rate of the behaviour training.")
flags.DEFINE_float("discount", 0.99, "Discount of the behaviour training.")
flags.DEFINE_integer("update_every", 1, "Environment steps between as many updates.")
flags.DEFINE_integer("seed", 0, "Seed of the training.")
flags.DEFINE_string("workdir", None, "Folder for the log of snapshot returns.")
flags.DEFINE_string("output", None, "The npz with the chosen snapshots.")
flags.mark_flags_as_required(["workdir", "output"])


def policy_from_sbx(params, action_space) -> behaviour.BehaviourPolicy:
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


def episode_return(env, policy, seed: int) -> float:
    """True return of one stochastic episode."""
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    total, done = 0.0, False
    while not done:
        noise = rng.standard_normal((1, len(policy.action_low)), np.float32)
        action = policy.act(observation[None], noise)[0]
        observation, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        done = terminated or truncated
    return total


def train(record) -> None:
    """Runs SBX and calls `record(env_steps, policy)` at every snapshot."""
    import sbx
    from stable_baselines3.common.callbacks import BaseCallback

    class Snapshots(BaseCallback):
        def _on_training_start(self):
            self._record()

        def _on_step(self):
            if self.num_timesteps % FLAGS.snapshot_every == 0:
                self._record()
            return True

        def _record(self):
            params = self.model.policy.actor_state.params["params"]
            policy = policy_from_sbx(params, self.training_env.action_space)
            record(self.num_timesteps, policy)

    widths = {
        "pi": [int(width) for width in FLAGS.actor_widths],
        "qf": [int(width) for width in FLAGS.critic_widths],
    }
    algorithm = {"tqc": sbx.TQC, "sac": sbx.SAC}[FLAGS.algorithm]
    model = algorithm(
        "MlpPolicy",
        FLAGS.env,
        seed=FLAGS.seed,
        gamma=FLAGS.discount,
        learning_rate=FLAGS.learning_rate,
        learning_starts=5_000,
        train_freq=FLAGS.update_every,
        gradient_steps=FLAGS.update_every,
        policy_kwargs={"net_arch": widths},
    )
    model.learn(FLAGS.total_steps, callback=Snapshots())


def command(arguments) -> str:
    """What was run, without the folders of the machine that ran it."""
    folders = ("--workdir", "--output")
    kept = [argument for argument in arguments if not argument.startswith(folders)]
    return shlex.join(["python", "-m", "experiments.train_behaviour", *kept])


def main(_):
    workdir = Path(FLAGS.workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    env = gymnasium.make(FLAGS.env)
    steps, policies, returns = [], [], []

    def record(env_steps, policy):
        episodes = [episode_return(env, policy, s) for s in range(FLAGS.eval_episodes)]
        steps.append(env_steps)
        policies.append(policy)
        returns.append(float(np.mean(episodes)))
        logging.info("%d env steps: return %.0f", env_steps, returns[-1])
        with open(workdir / "returns.jsonl", "a") as log:
            row = {"env_steps": env_steps, "returns": episodes}
            log.write(json.dumps(row) + "\n")
        save(steps, policies, returns)

    train(record)


def save(steps, policies, returns) -> None:
    """Writes the chosen snapshots so far, so that a stopped training keeps them."""
    chosen = behaviour.choose_snapshots(returns, FLAGS.num_replay)
    names = {i: f"step_{steps[i]:07d}" for i in chosen["replay"]}
    metadata = {
        "environment": FLAGS.env,
        "algorithm": FLAGS.algorithm,
        "seed": FLAGS.seed,
        "command": command(sys.argv[1:]),
        "roles": {role: names[chosen[role]] for role in ("medium", "expert")},
        "snapshots": {
            name: {"env_steps": steps[i], "return_mean": returns[i]}
            for i, name in names.items()
        },
    }
    kept = {name: policies[i] for i, name in names.items()}
    behaviour.save_snapshots(FLAGS.output, behaviour.PolicySnapshots(kept, metadata))


if __name__ == "__main__":
    app.run(main)
