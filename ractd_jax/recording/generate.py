"""Makes a dataset of a task on this machine, as D4RL made its own."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from ractd_jax.data.d4rl_hdf5 import save_d4rl_hdf5
from ractd_jax.data.minari_store import default_root, has_minari
from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.errors import ConfigError, DataError
from ractd_jax.files import check_writable
from ractd_jax.paths import local_path
from ractd_jax.recording import ant_maze, kitchen, point_maze, roundabout, smax
from ractd_jax.recording.behaviour import load_packaged_snapshots
from ractd_jax.recording.minari_writer import save_minari
from ractd_jax.recording.rollouts import DATASET_KINDS, mixture, record_mixture
from ractd_jax.tasks import environments
from ractd_jax.tasks.ant_maze import ANT_MAZES
from ractd_jax.tasks.maze_map import evaluation_spec
from ractd_jax.tasks.smax import LEARNED, SIZES


class _Recipe(NamedTuple):
    """How to record the episodes of a task.

    Attributes:
      environment: the environment to record in.
      eval_environment: the environment to evaluate in.
      behaviour: the acting policy: ``algorithm``, and other facts about it.
      record: (num_transitions, seed, num_workers) -> episodes.
    """

    environment: EnvSpec
    eval_environment: EnvSpec
    behaviour: Mapping[str, object]
    record: Callable[[int, int, int | None], Iterator[RecordedEpisode]]


def _locomotion(environment: str, kind: str, _: str) -> _Recipe:
    snapshots = load_packaged_snapshots(environment)
    spec = gymnasium.spec(snapshots.metadata["environment"])

    def record(num_transitions, seed, num_workers):
        parts = mixture(snapshots, kind, num_transitions)
        return record_mixture(spec.id, parts, seed, num_workers)

    return _Recipe(spec, spec, snapshots.metadata, record)


def _point_maze(_environment: str, kind: str, _: str) -> _Recipe:
    maze, driver = point_maze.KINDS[kind]
    return _Recipe(
        point_maze.recording_spec(kind),
        evaluation_spec(maze),
        driver.about(),
        functools.partial(point_maze.record_maze, kind),
    )


def _ant_maze(_environment: str, kind: str, _: str) -> _Recipe:
    snapshots = load_packaged_snapshots("ant")
    name = kind.partition("-")[0]
    return _Recipe(
        ant_maze.recording_spec(kind),
        environments.registered_spec(ANT_MAZES[name]),
        ant_maze.BEHAVIOUR | {"policy": snapshots.metadata},
        functools.partial(ant_maze.record_ant_maze, kind, snapshots.role("expert")),
    )


def _kitchen(_: str, kind: str, demonstrations: str) -> _Recipe:
    if not demonstrations:
        raise ConfigError(
            "--demonstrations (config.dataset.demonstrations): expected D4RL's file of "
            "kitchen-complete (mini_kitchen_microwave_kettle_light_slider-v0.hdf5), "
            "found nothing"
        )
    found = kitchen.load_demonstrations(demonstrations)
    spec = environments.registered_spec(kitchen.ENVIRONMENT)
    record = functools.partial(kitchen.record_kitchen, found, kind)
    return _Recipe(spec, spec, kitchen.BEHAVIOUR, record)


def _roundabout(_environment: str, _kind: str, _: str) -> _Recipe:
    spec = environments.registered_spec(roundabout.ENVIRONMENT)
    drivers = {
        traffic: load_packaged_snapshots(f"roundabout-{traffic}")
        for traffic in ("cars", "bicycles")
    }
    policies = {traffic: each.role("expert") for traffic, each in drivers.items()}
    about = {traffic: each.metadata for traffic, each in drivers.items()}
    record = functools.partial(roundabout.record_roundabout, policies)
    return _Recipe(spec, spec, {"algorithm": "PPO", **about}, record)


def _smax(_environment: str, kind: str, _: str) -> _Recipe:
    spec = environments.registered_spec(smax.recording_environment(kind))
    behaviour = smax.behaviour(kind)
    return _Recipe(spec, spec, behaviour, functools.partial(smax.record_smax, kind))


# environment: its kinds, and what makes the recipe of (environment, kind, file of
# demonstrations).
_ENVIRONMENTS = {
    "hopper": (DATASET_KINDS, _locomotion),
    "walker2d": (DATASET_KINDS, _locomotion),
    "halfcheetah": (DATASET_KINDS, _locomotion),
    "pointmaze": (tuple(point_maze.KINDS), _point_maze),
    "antmaze": (ant_maze.KINDS, _ant_maze),
    "kitchen": (kitchen.KINDS, _kitchen),
    "roundabout": (("one_kind",), _roundabout),
    "smax": (smax.smax_kinds(SIZES, LEARNED), _smax),
}


@dataclasses.dataclass(frozen=True)
class GeneratedDataset:
    """What was recorded.

    Attributes:
      dataset_id: its Minari id.
      episodes: how many.
      transitions: how many; slightly more than requested, as episodes are whole.
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
    if kind not in _ENVIRONMENTS.get(environment, ((),))[0]:
        known = [f"{e}-{k}" for e, (kinds, _) in _ENVIRONMENTS.items() for k in kinds]
        raise ConfigError(f"task: expected one of {known}, found {task!r}")
    return f"ractd/{environment}/{kind}-v0"


def generate_dataset(
    task: str,
    num_transitions: int,
    seed: int,
    *,
    demonstrations: str = "",
    root: str = "",
    hdf5: str | None = None,
    num_workers: int | None = None,
) -> GeneratedDataset:
    """Records `task` into the Minari root and, if `hdf5` is given, into an HDF5 file.

    Args:
      task: such as ``hopper-medium``, ``antmaze-medium-play`` or ``kitchen-partial``.
      num_transitions: at least this many, in whole episodes.
      seed: seed of the first episode; the others count up from it.
      demonstrations: D4RL's file of kitchen-complete, for the kitchen; else empty.
      root: Minari root; empty for Minari's default.
      hdf5: file to write in D4RL's layout, or None.
      num_workers: processes; by default one per core.

    Raises:
      ConfigError: an unknown task, or one that needs an extra of this package.
      DataError: the root already has this dataset; it or `hdf5` cannot be written.
    """
    name = dataset_id(task)
    environment, _, kind = task.partition("-")
    if demonstrations and environment != "kitchen":
        raise ConfigError(
            "--demonstrations (config.dataset.demonstrations): expected nothing with "
            f"task {task!r}, which follows none, found {demonstrations!r}"
        )
    recipe = _ENVIRONMENTS[environment][1](environment, kind, demonstrations)
    if hdf5:
        check_writable(hdf5)
    check_writable(Path(local_path(root or default_root(), "root")) / "any")
    if has_minari(name, root):
        raise DataError(
            f"Minari dataset '{name}'",
            expected=f"no dataset of that id in {root or 'the default Minari root'}",
            found="one; delete it (minari delete) or use another --root",
        )
    episodes = list(recipe.record(num_transitions, seed, num_workers))
    about = {
        "task": task,
        "environment": recipe.environment.id,
        "seed": seed,
        "behaviour": recipe.behaviour,
    }
    # Minari last: its dataset would refuse the second attempt after a failed first.
    if hdf5:
        save_d4rl_hdf5(hdf5, episodes, {"ractd_jax": json.dumps(about)})
    save_minari(
        name,
        episodes,
        recipe.environment,
        root,
        algorithm=str(recipe.behaviour["algorithm"]),
        description=json.dumps(about),
        eval_environment=recipe.eval_environment,
    )
    returns = np.array([episode.rewards.sum() for episode in episodes])
    return GeneratedDataset(
        name,
        len(episodes),
        sum(len(episode.rewards) for episode in episodes),
        float(returns.mean()),
        tuple(float(q) for q in np.quantile(returns, (0.25, 0.5, 0.75))),
    )
