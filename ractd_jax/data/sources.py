"""From settings to the arrays that a stage trains on."""

from __future__ import annotations

import dataclasses

import numpy as np

from ractd_jax.data.d4rl_hdf5 import load_d4rl_hdf5
from ractd_jax.data.episodes import Episodes
from ractd_jax.data.minari_source import load_minari
from ractd_jax.data.normalizers import MinMaxNormalizer, fit_min_max
from ractd_jax.errors import ConfigError
from ractd_jax.settings import Dataset


@dataclasses.dataclass(frozen=True)
class OfflineDataset:
    """Episodes with the normalisers fitted to them.

    Attributes:
      name: what to call it in errors and metadata.
      episodes: in environment units.
      observation_normalizer: of the observations.
      action_normalizer: of the actions.
    """

    name: str
    episodes: Episodes
    observation_normalizer: MinMaxNormalizer
    action_normalizer: MinMaxNormalizer

    def normalized(self) -> tuple[np.ndarray, np.ndarray]:
        """(observations [N, O], actions [N, A]) in [-1, 1], float32."""
        return (
            self.observation_normalizer.normalize(self.episodes.observations),
            self.action_normalizer.normalize(self.episodes.actions),
        )


def load_dataset(settings: Dataset) -> OfflineDataset:
    """Loads what `settings` names.

    Raises:
      ConfigError: the field that should name it is empty.
      DataError: it is missing or unusable.
    """
    field = {"minari": "id", "d4rl": "path"}[settings.source]
    name = getattr(settings, field)
    if not name:
        raise ConfigError(
            f"config.dataset.{field}: expected a dataset, as config.dataset.source is "
            f"{settings.source!r}, found nothing"
        )
    if settings.source == "minari":
        episodes = load_minari(name, settings.root)
    else:
        episodes = load_d4rl_hdf5(name)
    return OfflineDataset(
        name,
        episodes,
        fit_min_max(episodes.observations),
        fit_min_max(episodes.actions),
    )
