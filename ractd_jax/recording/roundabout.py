"""Recordings of the roundabout: two drivers, each in traffic of one kind.

The recipe of Duan (2025): one policy learned among cars and one among bicycles, and
only episodes without a crash are kept. So every kind is seen, and never both together.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import gymnasium

from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.errors import DataError
from ractd_jax.recording.behaviour import CategoricalPolicy
from ractd_jax.recording.rollouts import episodes_until, record_episode, worker_pool
from ractd_jax.tasks.environments import registered_spec
from ractd_jax.tasks.roundabout import IDS

# Where episodes are recorded: a scene's vehicles are chosen by its options.
ENVIRONMENT = IDS["one_kind"]
_OTHERS = 4
# Steps that are driven, at most, for each one that is asked for.
_PATIENCE = 20

_worker_env: gymnasium.Env | None = None


def _start_worker(environment_id: str) -> None:
    global _worker_env
    spec = registered_spec(environment_id)
    _worker_env = gymnasium.make(spec, disable_env_checker=True)


def _record(policy: CategoricalPolicy, bicycles: bool, seed: int) -> RecordedEpisode:
    options = {"bicycles": [bicycles] * _OTHERS}
    return record_episode(_worker_env, policy, seed, options)


def record_roundabout(
    policies: Mapping[str, CategoricalPolicy],
    num_transitions: int,
    seed: int,
    num_workers: int | None = None,
) -> Iterator[RecordedEpisode]:
    """Yields episodes without a crash, half of them among cars, half among bicycles.

    The result depends on `seed` alone, not on the number of workers.

    Args:
      policies: ``cars`` and ``bicycles`` -> who drives among them.
      num_transitions: at least as many are recorded.
      seed: of the first episode; the others count on, those that crash included.
      num_workers: processes; by default one for each core.

    Raises:
      DataError: a policy crashes nearly always.
    """
    with worker_pool(num_workers, _start_worker, ENVIRONMENT) as pool:
        for traffic in ("cars", "bicycles"):
            record = functools.partial(
                _record, policies[traffic], traffic == "bicycles"
            )
            wanted, kept = -(-num_transitions // 2), 0
            tried = episodes_until(pool, record, _PATIENCE * wanted, seed, num_workers)
            for episode in tried:
                seed = episode.seed + 1
                if episode.terminated:
                    continue
                kept += len(episode.rewards)
                yield episode
                if kept >= wanted:
                    break
            else:
                raise DataError(
                    f"roundabout among {traffic}",
                    expected="a policy that arrives",
                    found=f"{kept} steps without a crash of {_PATIENCE * wanted}",
                )
            tried.close()
