"""robomimic's HDF5 files of demonstrations, with low-dimensional observations.

Each group ``data/demo_N`` is an episode: ``obs/KEY`` for each part of an observation,
``actions``, ``rewards`` and ``dones``. Lists of demonstrations stand in ``mask/KEY``.
"""

from __future__ import annotations

import json
import re

import gymnasium
import h5py
import numpy as np
from absl import logging

from ractd_jax.data.episodes import (
    Episodes,
    check_continuous,
    check_rows,
    checked_field,
)
from ractd_jax.data.hdf5 import open_hdf5, read_values
from ractd_jax.data.origin import Origin, origin_of_file, with_reference
from ractd_jax.data.readers.fields import (
    chosen_keys,
    join,
    last_rows,
    no_rewards,
    whole_episodes,
)
from ractd_jax.errors import DataError
from ractd_jax.settings import Dataset

_OPTIONAL = ("rewards", "dones")
# EnvType.GYM_TYPE of robomimic's envs/env_base.py.
_GYM = 2


def read_robomimic(options: Dataset, flatten: str) -> tuple[Episodes, Origin]:
    """Reads the demonstrations of one file, or those of one filter key.

    Args:
      options: with ``path``, and perhaps ``filter_key`` and ``observation_keys``.
      flatten: not used: the keys say which parts an observation has.

    Raises:
      DataError: the file is missing or damaged, has no such filter key or observation
        key, or holds discrete actions, or values that are no finite float32 numbers.
    """
    path = options.path
    with open_hdf5(path, "an HDF5 file of robomimic") as file:
        demos = _demonstrations(file, path, options.filter_key)
        shapes = _shapes(_group(file, f"{demos[0]}/obs", path))
        keys = chosen_keys(shapes, options.observation_keys, path)
        optional = [name for name in _OPTIONAL if name in file[demos[0]]]
        fields, lengths = _read(file, demos, keys, optional, path)
        about = file["data"].attrs.get("env_args", "")
    if "rewards" not in optional:
        fields["rewards"] = no_rewards(sum(lengths), "rewards", path)
    dones = fields.pop("dones", np.zeros(sum(lengths), bool))
    episodes = whole_episodes(fields, dones, last_rows(lengths), path)
    return episodes, _origin(about, path)._replace(
        has_rewards="rewards" in optional, observation_keys=",".join(keys)
    )


def _group(file: h5py.File, name: str, path) -> h5py.Group:
    group = file.get(name)
    if not isinstance(group, h5py.Group) or not len(group):
        found = "nothing" if group is None else "an array or an empty group"
        raise DataError(path, field=name, expected="a group", found=found)
    return group


def _demonstrations(file: h5py.File, path, filter_key: str) -> list[str]:
    """``data/demo_N`` of each demonstration, by its number."""
    names = list(_group(file, "data", path))
    if filter_key:
        names = _filtered(file, filter_key, path)
    for name in names:
        if not re.fullmatch(r"demo_\d+", name):
            raise DataError(
                path, field="data", expected="groups demo_0, demo_1, ...", found=name
            )
        _group(file, f"data/{name}", path)
    order = sorted(set(names), key=lambda name: int(name.removeprefix("demo_")))
    return [f"data/{name}" for name in order]


def _filtered(file: h5py.File, filter_key: str, path) -> list[str]:
    """The names that ``mask/FILTER_KEY`` lists."""
    field, masks = f"mask/{filter_key}", file.get("mask")
    known = sorted(masks) if isinstance(masks, h5py.Group) else []
    if filter_key not in known or not isinstance(masks[filter_key], h5py.Dataset):
        raise DataError(
            path,
            field=field,
            expected=f"a filter key of the file ({', '.join(known) or 'it has none'}; "
            "config.dataset.filter_key)",
            found="nothing",
        )
    listed = np.ravel(masks[filter_key][()])
    if not len(listed):
        raise DataError(path, field=field, expected="demonstrations", found="none")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in listed]


def _shapes(observations: h5py.Group) -> dict[str, tuple[int, ...] | None]:
    """Key -> shape of its values at one step; None for what is no array of numbers."""
    return {
        key: stored.shape[1:]
        if isinstance(stored, h5py.Dataset) and stored.dtype.kind in "fiub"
        else None
        for key, stored in observations.items()
    }


def _read(
    file: h5py.File, demos: list[str], keys: list[str], optional: list[str], path
) -> tuple[dict[str, np.ndarray], list[int]]:
    """The fields of all demonstrations, joined, and the length of each."""
    names = ("observations", "actions", *optional)
    parts: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
    lengths = []
    for demo in demos:
        arrays = {
            name: _array(file, f"{demo}/{name}", path)
            for name in ("actions", *optional, *(f"obs/{key}" for key in keys))
        }
        lengths.append(_check_length(arrays, file[demo], path))
        columns = [arrays[f"obs/{key}"] for key in keys]
        arrays["observations"] = np.concatenate(columns, axis=1)
        for name in names:
            parts[name][f"{demo}/{name}"] = arrays[name]
    return {name: join(found, path) for name, found in parts.items()}, lengths


def _array(file: h5py.File, field: str, path) -> np.ndarray:
    """A checked array of a demonstration; of ``obs``, numbers are a column."""
    stored, name = file.get(field), field.split("/")[2]
    if not isinstance(stored, h5py.Dataset):
        raise DataError(path, field=field, expected="an array", found="nothing")
    if name == "actions":
        check_continuous(stored.dtype, field, path)
    flags = name == "dones"
    values = read_values(stored, field, path, floats=not flags)
    if name == "obs" and values.ndim == 1:
        values = values[:, None]
    rank = 1 if name in _OPTIONAL else 2
    return checked_field(values, field, path, rank, flags=flags)


def _check_length(arrays: dict[str, np.ndarray], demo: h5py.Group, path) -> int:
    """The demonstration's steps, the same in all of its arrays."""
    name = demo.name[1:]
    check_rows({f"{name}/{field}": array for field, array in arrays.items()}, path)
    length = len(arrays["actions"])
    expected = demo.attrs.get("num_samples", length)
    if expected != length:
        raise DataError(
            path,
            field=f"{name}/actions",
            expected=f"{expected} rows (attribute num_samples)",
            found=length,
        )
    return length


def _origin(about, path) -> Origin:
    """What the attribute ``env_args`` says, where Gymnasium can make it."""
    try:
        about = json.loads(about)
        kind, name = about["type"], str(about["env_name"])
        kwargs = dict(about.get("env_kwargs") or {})
    except (KeyError, TypeError, ValueError, AttributeError):
        kind, name, kwargs = None, "none", {}
    if kind == _GYM and name in gymnasium.registry:
        spec = _spec(name, kwargs)
        if spec:
            return with_reference(Origin(name, spec if kwargs else ""))
    # A D4RL task, or an environment of Gym that Gymnasium has in a later version.
    origin = origin_of_file(name) if kind == _GYM and not kwargs else Origin()
    logging.info(
        "%s: recorded in environment '%s' (data, attribute env_args), which Gymnasium "
        "cannot make; evaluations use %s",
        path,
        name,
        origin.environment_id or "that of config.environment.id",
    )
    return origin


def _spec(name: str, kwargs: dict) -> str:
    """EnvSpec as JSON; empty for an environment that cannot be made."""
    try:
        env = gymnasium.make(name, **kwargs)
    # What an environment raises is its own affair, such as a missing package.
    except Exception:
        return ""
    env.close()
    return env.spec.to_json()
