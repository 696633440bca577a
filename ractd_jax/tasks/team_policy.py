"""Policies of teams: one recurrent network, which each agent runs on what it sees."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import json
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax.errors import DataError
from ractd_jax.files import completed
from ractd_jax.networks.recurrent import RecurrentActor

_NEVER = -1e9


@dataclasses.dataclass(frozen=True, eq=False)  # one is equal to itself alone
class TeamPolicy:
    """The actor that all agents of a team share.

    Attributes:
      network: of the actor.
      params: its parameters.
      metadata: how it was trained, and how often it wins.
    """

    network: RecurrentActor
    params: Any
    metadata: Mapping[str, Any]

    def logits(
        self, hidden: jax.Array, observations: jax.Array, available: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """(hidden [B, W], logits [B, A]); a pure function.

        Args:
          hidden: [B, W], at first ``network.start(B)``.
          observations: [B, O].
          available: [B, A] bool; what is not has no chance.
        """
        starts = jnp.zeros((1, len(observations)), bool)
        hidden, logits = self.network.apply(
            {"params": self.params}, hidden, observations[None], starts
        )
        return hidden, jnp.where(available, logits[0], _NEVER)

    def digest(self) -> str:
        """SHA-256 of the parameters."""
        hasher = hashlib.sha256()
        for leaf in jax.tree.leaves(self.params):
            hasher.update(np.asarray(leaf).tobytes())
        return hasher.hexdigest()


def save_team_policy(path: str | os.PathLike, policy: TeamPolicy) -> None:
    """Writes a policy to one npz of float16 arrays, in place only when complete."""
    leaves = jax.tree_util.tree_flatten_with_path(policy.params)[0]
    arrays = {
        "/".join(key.key for key in keys): np.asarray(leaf, np.float16)
        for keys, leaf in leaves
    }
    arrays["metadata"] = np.array(json.dumps(dict(policy.metadata)))
    with completed(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def load_team_policy(path: str | os.PathLike) -> TeamPolicy:
    """Reads a file of :func:`save_team_policy`.

    Raises:
      DataError: the file is missing, or no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        metadata = json.loads(str(arrays.pop("metadata")))
        params: dict[str, Any] = {}
        for name, array in arrays.items():
            *folders, leaf = name.split("/")
            place = params
            for folder in folders:
                place = place.setdefault(folder, {})
            place[leaf] = jnp.asarray(array, jnp.float32)
        width, num_actions = params["head"]["kernel"].shape
    except Exception as error:  # zipfile, numpy and json each raise their own
        raise DataError(path, expected="a team's policy", found=error) from None
    return TeamPolicy(RecurrentActor(num_actions, width), params, metadata)


def packaged_teams() -> list[str]:
    """Names of the policies that are shipped."""
    folder = importlib.resources.files("ractd_jax.tasks") / "assets"
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    return sorted(name[:-4] for name in names if name.endswith(".npz"))


def load_packaged_team(name: str) -> TeamPolicy:
    """The policy shipped as `name`, such as ``smax-3v3-one_kind``.

    Raises:
      DataError: none is shipped under that name.
    """
    resource = importlib.resources.files("ractd_jax.tasks") / "assets"
    with importlib.resources.as_file(resource / f"{name}.npz") as path:
        return load_team_policy(path)
