"""Behaviour policies: small MLPs in numpy that generate datasets.

A policy file is a plain ``.npz`` (no pickle) with the arrays of every snapshot
taken along one training, and a JSON string ``metadata`` that says which
algorithm, seed and step each one came from and what it returns.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import os
from collections.abc import Mapping, Sequence

import numpy as np

from ractd_jax.errors import DataError
from ractd_jax.files import completed

_LOG_STD_RANGE = (-20.0, 2.0)


@dataclasses.dataclass(frozen=True)
class BehaviourPolicy:
    """A squashed Gaussian policy, a = tanh(mean(o) + exp(log_std(o)) * eps).

    Attributes:
      weights: kernels [in, out] of the hidden layers, then of the joint
        (mean, log_std) head [hidden, 2A].
      biases: the matching biases.
      action_low: [A] lower bound of the environment's actions.
      action_high: [A] upper bound.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    action_low: np.ndarray
    action_high: np.ndarray

    def act(self, observations: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
        """Actions [B, A] for observations [B, O] in environment units.

        Args:
          observations: [B, O].
          noise: [B, A] standard normal draws, or None for the mode.
        """
        hidden = np.asarray(observations, np.float32)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = np.maximum(hidden @ weight + bias, 0.0)
        mean, log_std = np.split(hidden @ self.weights[-1] + self.biases[-1], 2, -1)
        if noise is not None:
            mean = mean + np.exp(np.clip(log_std, *_LOG_STD_RANGE)) * noise
        unit = 0.5 * (np.tanh(mean) + 1.0)
        return self.action_low + unit * (self.action_high - self.action_low)

    def noise(self, rng: np.random.Generator) -> np.ndarray:
        """[1, A] draws for one observation of :meth:`act`."""
        return rng.standard_normal((1, len(self.action_low)), np.float32)


@dataclasses.dataclass(frozen=True)
class CategoricalPolicy:
    """A policy of discrete actions, whose logits an MLP of tanh gives.

    Attributes:
      weights: kernels [in, out] of the hidden layers, then of the head [hidden, A].
      biases: the matching biases.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    def act(self, observations: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
        """Actions [B], int64, for observations [B, O] in environment units.

        Args:
          observations: [B, O].
          noise: [B, A] standard Gumbel draws, or None for the likeliest action.
        """
        hidden = np.asarray(observations, np.float32)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = np.tanh(hidden @ weight + bias)
        logits = hidden @ self.weights[-1] + self.biases[-1]
        return np.argmax(logits if noise is None else logits + noise, axis=-1)

    def noise(self, rng: np.random.Generator) -> np.ndarray:
        """[1, A] draws for one observation of :meth:`act`."""
        return rng.gumbel(size=(1, len(self.biases[-1])))


Behaviour = BehaviourPolicy | CategoricalPolicy


@dataclasses.dataclass(frozen=True)
class PolicySnapshots:
    """Snapshots of one training, in the order they were taken.

    Attributes:
      policies: name -> policy, ordered from the first snapshot to the last.
      metadata: ``environment``, ``algorithm``, ``seed``, ``command`` and, under
        ``snapshots``, each name's ``env_steps`` and ``return_mean``; ``roles``
        maps ``medium`` and ``expert`` to snapshot names.
    """

    policies: Mapping[str, Behaviour]
    metadata: Mapping[str, object]

    def role(self, name: str) -> Behaviour:
        """The policy that plays `name` (``medium`` or ``expert``)."""
        return self.policies[self.metadata["roles"][name]]


def save_snapshots(path: str | os.PathLike, snapshots: PolicySnapshots) -> None:
    """Writes `snapshots` to one compressed npz, in place only when complete."""
    arrays: dict[str, np.ndarray] = {}
    for name, policy in snapshots.policies.items():
        for i, (w, b) in enumerate(zip(policy.weights, policy.biases, strict=True)):
            arrays[f"{name}/weight_{i}"] = w.astype(np.float32)
            arrays[f"{name}/bias_{i}"] = b.astype(np.float32)
        if isinstance(policy, BehaviourPolicy):
            arrays[f"{name}/action_low"] = policy.action_low
            arrays[f"{name}/action_high"] = policy.action_high
    arrays["metadata"] = np.array(json.dumps(snapshots.metadata))
    with completed(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def load_snapshots(path: str | os.PathLike) -> PolicySnapshots:
    """Reads a file written by :func:`save_snapshots`.

    Raises:
      DataError: the file is missing, or is not a policy file.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        metadata = json.loads(str(arrays.pop("metadata")))
        names = list(metadata["snapshots"])
        policies = {name: _policy_from_arrays(arrays, name) for name in names}
    except Exception as error:  # zipfile, numpy and json each raise their own
        raise DataError(path, expected="a behaviour policy file", found=error) from None
    return PolicySnapshots(policies, metadata)


def load_packaged_snapshots(environment: str) -> PolicySnapshots:
    """The snapshots shipped for `environment`, such as ``hopper``.

    Raises:
      DataError: none are shipped under that name.
    """
    resource = importlib.resources.files("ractd_jax.recording") / "assets"
    with importlib.resources.as_file(resource / f"{environment}.npz") as path:
        return load_snapshots(path)


def _policy_from_arrays(arrays: Mapping[str, np.ndarray], name: str):
    depth = sum(key.startswith(f"{name}/weight_") for key in arrays)
    if depth == 0:
        raise KeyError(f"{name}/weight_0")
    layers = [
        tuple(arrays[f"{name}/{kind}_{i}"] for i in range(depth))
        for kind in ("weight", "bias")
    ]
    if f"{name}/action_low" not in arrays:
        return CategoricalPolicy(*layers)
    return BehaviourPolicy(
        *layers,
        action_low=arrays[f"{name}/action_low"],
        action_high=arrays[f"{name}/action_high"],
    )


def choose_snapshots(returns: Sequence[float], num_replay: int) -> dict[str, object]:
    """Which snapshots of a training to keep, by their mean returns.

    The expert is the best snapshot. Medium is the last one before it whose return is
    within a fifth of a third of the expert's, or the nearest to that (an early snapshot
    may earn its return by standing still). The replay list runs from the first snapshot
    to the expert, with returns spread as evenly as the training allows. With one
    snapshot to keep, the expert is all of them.

    Args:
      returns: mean return of each snapshot, in training order.
      num_replay: how many snapshots the replay mixture should have.

    Returns:
      ``{"expert": index, "medium": index, "replay": sorted indices}``.
    """
    returns = np.asarray(returns, np.float64)
    expert = int(np.argmax(returns))
    if num_replay == 1:
        return {"expert": expert, "medium": expert, "replay": [expert]}
    before = returns[: expert + 1]
    third = returns[expert] / 3.0
    distance = np.abs(before - third)
    near = np.flatnonzero(distance <= 0.2 * third)
    medium = int(near[-1]) if len(near) else int(np.argmin(distance))
    chosen = {0, medium, expert}
    while len(chosen) < min(num_replay, len(before)):
        kept = sorted(chosen)
        # The snapshot that is farthest from all those kept fills the widest gap.
        gap = np.abs(before[:, None] - before[kept]).min(axis=1)
        gap[kept] = -1.0
        chosen.add(int(np.argmax(gap)))
    return {"expert": expert, "medium": medium, "replay": sorted(chosen)}
