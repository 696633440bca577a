"""Minari datasets: any id, from the local root or downloaded into it."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os

import h5py
import minari
import numpy as np
from absl import logging

from ractd_jax.data.episodes import (
    Episodes,
    build_episodes,
    concatenate,
    empty_aligned,
)
from ractd_jax.data.minari_episodes import episode_arrays, has_early_flags, warn_of
from ractd_jax.data.minari_store import DIGEST, hash_episode, local_root
from ractd_jax.data.origin import Origin, Reset, with_reference
from ractd_jax.errors import DataError
from ractd_jax.tasks import Task, task_of
from ractd_jax.tasks.environments import action_bounds, recorded_spec

_RELEASE_EVERY = 200


def load_minari(
    dataset_ids: str, root: str = "", *, flatten: str = "auto", download: bool = True
) -> tuple[Episodes, Origin]:
    """Reads Minari datasets into episodes, one after the other.

    Args:
      dataset_ids: such as ``ractd/hopper/medium-expert-v0``, or several ids with
        commas, such as ``mujoco/hopper/medium-v0,mujoco/hopper/expert-v0``.
      root: folder of Minari datasets; empty for Minari's own default.
      flatten: rule for Dict observations, see :mod:`ractd_jax.tasks.flatten`.
      download: whether to fetch a dataset that is not in the root.

    Raises:
      DataError: a dataset is missing, unreadable, or does not fit the first one.
    """
    parts, origins = [], []
    with local_root(root):
        for dataset_id in filter(None, map(str.strip, dataset_ids.split(","))):
            _fetch(dataset_id, root, download)
            source = f"Minari dataset '{dataset_id}'"
            try:
                dataset = minari.load_dataset(dataset_id)
                origin = _origin(dataset)
                fields = _read(dataset, flatten, source, task_of(origin.environment_id))
                origins.append(origin)
            except DataError:
                raise
            except Exception as error:
                raise DataError(
                    source,
                    expected="a whole Minari dataset",
                    found=f"{type(error).__name__}: {error}",
                ) from None
            parts.append(build_episodes(fields, source))
            _check_fits(parts, origins, source)
    if not parts:
        raise DataError(
            "config.dataset.id", expected="a Minari id", found=repr(dataset_ids)
        )
    return concatenate(parts), origins[0]


def _fetch(dataset_id: str, root: str, download: bool) -> None:
    """Makes sure that the dataset is in the local root."""
    source = f"Minari dataset '{dataset_id}'"
    if root and not os.path.isdir(root):
        raise DataError(
            source, expected=f"a folder {root} (config.dataset.root)", found="none"
        )
    if dataset_id in minari.list_local_datasets():
        return
    where = f"a dataset in {root or 'the default Minari root'}"
    made_here = dataset_id.startswith("ractd/")
    if not download or made_here:
        advice = "; make it with experiments.generate_dataset" if made_here else ""
        raise DataError(source, expected=where, found=f"none of that id{advice}")
    logging.info("%s is not in the local root: downloading", source)
    try:
        minari.download_dataset(dataset_id)
    except Exception as error:  # requests, huggingface_hub and minari raise their own
        reason = str(error).strip().splitlines() or [""]
        raise DataError(
            source,
            expected=where,
            found="none of that id, and the download failed: "
            f"{type(error).__name__}: {reason[0][:200]}",
        ) from None


def _check_fits(parts: list[Episodes], origins: list[Origin], source: str) -> None:
    for name in ("observations", "actions"):
        sizes = [getattr(part, name).shape[1] for part in (parts[0], parts[-1])]
        if sizes[0] != sizes[1]:
            raise DataError(
                source,
                field=name,
                expected=f"{sizes[0]} dimensions, as the first dataset has",
                found=sizes[1],
            )
    for name in ("environment_id", "environment_spec", "left_out", "action_bounds"):
        values = [getattr(origin, name) for origin in (origins[0], origins[-1])]
        if values[0] != values[1]:
            raise DataError(
                source,
                field=_FIELDS[name],
                expected=f"{_shown(values[0])}, as the first dataset has",
                found=_shown(values[1]),
            )


# What a difference between two origins is called in an error.
_FIELDS = {
    "environment_id": "eval_env",
    "environment_spec": "eval_env",
    "left_out": "eval_env",
    "action_bounds": "action_space",
}


def _shown(value) -> str:
    """A part of an origin in words."""
    if not value:
        return "none"
    if isinstance(value, str) and value.startswith("{"):
        spec = json.loads(value)
        names = ("id", "kwargs", "max_episode_steps", "additional_wrappers")
        return json.dumps({name: spec[name] for name in names})
    return str(value)


def _read(dataset: minari.MinariDataset, flatten: str, source: str, task: Task) -> dict:
    """Flat fields, filled episode by episode into arrays of the final size."""
    total = int(dataset.total_steps)
    fields, begin = {}, 0
    empty, early = [], []
    hasher = hashlib.sha256()
    for number, episode in enumerate(dataset.iterate_episodes()):
        if number % _RELEASE_EVERY == _RELEASE_EVERY - 1:
            _release_memory()
        hash_episode(hasher, episode)
        length, place = len(episode.rewards), f"{source}, episode {episode.id}"
        if length == 0:
            empty.append(episode.id)
            continue
        if begin + length > total:
            raise DataError(source, expected=f"{total} steps", found="more")
        if has_early_flags(episode, place):
            early.append(episode.id)
        parts = episode_arrays(episode, flatten, task, place)
        _copy_into(fields, begin, total, parts, place)
        begin += length
    _release_memory()
    if begin != total or total == 0:
        raise DataError(source, expected=f"{total or 'some'} steps", found=begin)
    expected = dataset.storage.metadata.get(DIGEST)
    if expected and expected != hasher.hexdigest():
        raise DataError(
            source,
            expected="the values that were written (sha256)",
            found="other values: a file is damaged or was edited",
        )
    warn_of(empty, early, source)
    return fields


def _copy_into(fields: dict, begin: int, total: int, parts: dict, place: str) -> None:
    """Copies the `parts` of an episode to step `begin` of arrays of `total` steps."""
    for name, part in parts.items():
        if name not in fields:
            dtype = bool if part.dtype == bool else np.float32
            fields[name] = empty_aligned((total, *part.shape[1:]), dtype)
        whole = fields[name]
        if part.shape[1:] != whole.shape[1:]:
            raise DataError(
                place,
                field=name,
                expected=f"{whole.shape[1:]} numbers a step, as earlier episodes have",
                found=part.shape[1:],
            )
        with np.errstate(over="ignore"):
            whole[begin : begin + len(part)] = part


def _release_memory() -> None:
    """Frees the memory that HDF5 and the C library keep after reading episodes.

    Reading many small arrays leaves 55 KB an episode on their free lists, up to half of
    the data's size. Where these calls do not exist, that memory is not freed.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(h5py.h5f.__file__).H5garbage_collect()
        ctypes.CDLL(None).malloc_trim(0)


def _origin(dataset: minari.MinariDataset) -> Origin:
    origin = Origin(action_bounds=action_bounds(dataset.action_space))
    spec = getattr(dataset, "_eval_env_spec", None) or dataset.env_spec
    if spec is None:
        return origin
    spec_json, left_out = recorded_spec(spec)
    origin = origin._replace(
        environment_id=spec.id,
        environment_spec=spec_json,
        left_out=left_out,
        reset=_first_reset(dataset),
    )
    stored = dataset.storage.metadata
    low, high = stored.get("ref_min_score"), stored.get("ref_max_score")
    if low is not None and high is not None and high > low:
        origin = origin._replace(
            score_min=float(low),
            score_max=float(high),
            score_source=f"the reference returns of Minari dataset '{dataset.id}'",
        )
    return with_reference(origin)


def _first_reset(dataset: minari.MinariDataset) -> Reset:
    """Of the first episode that has steps."""
    about = dataset.storage.get_episode_metadata(dataset.episode_indices)
    first = next((each for each in about if each.get("total_steps", 1)), {})
    return Reset(first.get("seed"), first.get("options"))
