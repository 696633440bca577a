"""Rates the snapshots of a behaviour policy file on fresh seeds, in place.

  python -m experiments.rate_behaviour --path=ractd_jax/data/assets/hopper.npz

The returns that a training chose its snapshots by are biased upwards: the expert is
the best of many noisy means. These are not: other seeds, more episodes.
"""

import concurrent.futures
import dataclasses
import os

import gymnasium
import numpy as np
from absl import flags

from experiments import launch
from ractd_jax.data import behaviour
from ractd_jax.data.rollouts import record_episode

FLAGS = flags.FLAGS


def returns_of(job) -> list[float]:
    """True returns of stochastic episodes."""
    environment_id, policy, seeds = job
    env = gymnasium.make(environment_id)
    return [float(record_episode(env, policy, seed).rewards.sum()) for seed in seeds]


def main():
    stored = behaviour.load_snapshots(FLAGS.path)
    environment_id = stored.metadata["environment"]
    seeds = range(FLAGS.seed, FLAGS.seed + FLAGS.num_episodes)
    jobs = [(environment_id, policy, seeds) for policy in stored.policies.values()]
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        rated = dict(zip(stored.policies, pool.map(returns_of, jobs), strict=True))
    snapshots = {
        name: {
            "env_steps": about["env_steps"],
            "return_mean": float(np.mean(rated[name])),
            "return_std": float(np.std(rated[name])),
            "episodes": FLAGS.num_episodes,
        }
        for name, about in stored.metadata["snapshots"].items()
    }
    metadata = {**stored.metadata, "snapshots": snapshots, "rating_seed": FLAGS.seed}
    behaviour.save_snapshots(FLAGS.path, dataclasses.replace(stored, metadata=metadata))
    roles = {name: role for role, name in metadata["roles"].items()}
    for name, about in snapshots.items():
        print(
            f"{name}: {about['return_mean']:.0f} +- {about['return_std']:.0f} "
            f"{roles.get(name, '')}"
        )


if __name__ == "__main__":
    flags.DEFINE_string("path", None, "Policy file, rewritten.", required=True)
    flags.DEFINE_integer("num_episodes", 100, "Episodes per snapshot.", lower_bound=1)
    flags.DEFINE_integer("seed", 1_000_000, "First seed.")
    launch.run(main)
