"""Makes a dataset of a task on this machine, as D4RL made its own."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from ractd_jax.data.behaviour import load_packaged_snapshots
from ractd_jax.data.d4rl_hdf5 import save_d4rl_hdf5
from ractd_jax.data.minari_source import has_minari, save_minari
from ractd_jax.data.rollouts import DATASET_KINDS, mixture, record_mixture
from ractd_jax.errors import ConfigError, DataError

_ENVIRONMENTS = ("hopper", "walker2d", "halfcheetah")


@dataclasses.dataclass(frozen=True)
class GeneratedDataset:
    """What was recorded.

    Attributes:
      dataset_id: its Minari id.
      episodes: how many.
      transitions: how many; whole episodes, so a few more than asked for.
      return_mean: mean true return.
      return_quartiles: 25%, 50% and 75% of the true returns.
    """

    dataset_id: str
    episodes: int
    transitions: int
    return_mean: float
    return_quartiles: tuple[float, float, float]


def dataset_id(task: str) -> str:
    """The Minari id of a task made here: ``ractd/ENVIRONMENT/KIND-v0``.

    Raises:
      ConfigError: not a task that can be made here.
    """
    environment, _, kind = task.partition("-")
    if environment not in _ENVIRONMENTS or kind not in DATASET_KINDS:
        known = [f"{e}-{k}" for e in _ENVIRONMENTS for k in DATASET_KINDS]
        raise ConfigError(f"task: expected one of {known}, found {task!r}")
    return f"ractd/{environment}/{kind}-v0"


def generate_dataset(
    task: str,
    num_transitions: int,
    seed: int,
    *,
    root: str = "",
    hdf5: str | None = None,
    num_workers: int | None = None,
) -> GeneratedDataset:
    """Records `task` into the Minari root, and into an HDF5 file when asked.

    Args:
      task: such as ``hopper-medium-expert``.
      num_transitions: at least this many, in whole episodes.
      seed: seed of the first episode; the others count on.
      root: Minari root; empty for Minari's default.
      hdf5: file to write in D4RL's layout, or None.
      num_workers: processes; by default one per core.

    Raises:
      ConfigError: an unknown task.
      DataError: the root already has this dataset.
    """
    name = dataset_id(task)
    if has_minari(name, root):
        raise DataError(
            f"Minari dataset '{name}'",
            expected=f"no dataset of that id in {root or 'the default Minari root'}",
            found="one; delete it (minari delete) or use another --root",
        )
    environment, _, kind = task.partition("-")
    snapshots = load_packaged_snapshots(environment)
    environment_id = snapshots.metadata["environment"]
    parts = mixture(snapshots, kind, num_transitions)
    episodes = list(record_mixture(environment_id, parts, seed, num_workers))
    about = {
        "task": task,
        "environment": environment_id,
        "seed": seed,
        "behaviour": snapshots.metadata,
    }
    save_minari(
        name,
        episodes,
        environment_id,
        root,
        algorithm=str(snapshots.metadata["algorithm"]),
        description=json.dumps(about),
    )
    if hdf5:
        attributes = {"ractd_jax": json.dumps(about)}
        save_d4rl_hdf5(hdf5, episodes, attributes)
    returns = np.array([episode.rewards.sum() for episode in episodes])
    return GeneratedDataset(
        name,
        len(episodes),
        sum(len(episode.rewards) for episode in episodes),
        float(returns.mean()),
        tuple(float(q) for q in np.quantile(returns, (0.25, 0.5, 0.75))),
    )
