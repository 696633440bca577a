"""Writes a planner as one file; `ractd_jax.policy` describes the file and runs it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

import ractd_jax
from ractd_jax import policy
from ractd_jax.errors import DataError
from ractd_jax.files import write_bytes
from ractd_jax.inputs import KEY_IMPL
from ractd_jax.planning.planner import Planner
from ractd_jax.settings import to_dict
from ractd_jax.storage.checkpoint import StoredModel

PLATFORMS = ("cpu", "cuda", "tpu")
_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "flatbuffers")
_COMPARED_PLANS = 8


def export_planner(
    planner: Planner,
    path: str | os.PathLike,
    about: Mapping[str, Any] | None = None,
    storage: str = "float32",
) -> dict[str, Any]:
    """Writes `planner`, its sampler and number of steps included, to one file.

    The file appears only when complete. The same planner and `about` give the same
    bytes.

    Args:
      planner: the planner to write.
      path: path of the file.
      about: JSON-able entries to add to the metadata, such as those of
        `describe_checkpoint`.
      storage: of the weights, one of `ractd_jax.policy.STORAGES`; half precision
        is rounded, and the file compressed.

    Returns:
      The metadata.

    Raises:
      DataError: the file cannot be written.
    """
    weights, places, tree = _unique_leaves(planner.weights)
    exported = _export_program(planner, list(weights.values()), places, tree)
    buffer = io.BytesIO()
    rounded = {name: policy.stored(array, storage) for name, array in weights.items()}
    np.savez(buffer, **rounded)
    members = {
        policy.PROGRAM: bytes(exported.serialize()),
        policy.WEIGHTS: buffer.getvalue(),
    }
    digests = {name: _digest(content) for name, content in members.items()}
    metadata = {**_metadata(planner, exported), **(about or {})}
    metadata |= {"storage": storage, "sha256": digests}
    write_bytes(path, _pack(metadata, members, is_compressed=storage != "float32"))
    return metadata


def describe_checkpoint(directory: str | os.PathLike) -> dict[str, Any]:
    """What a training's folder records and its planner does not know.

    Returns:
      ``dataset``; ``evaluations``, contents of the folder's ``evaluation/*.json`` by
      their names; ``trained_with``, packages and devices of the training.

    Raises:
      CheckpointError: there is no readable checkpoint.
      DataError: one of the files is not JSON.
    """
    directory = Path(directory)
    environment = directory / "environment.json"
    return {
        "dataset": StoredModel(directory).metadata["dataset"],
        "evaluations": {
            file.stem: _read_json(file)
            for file in sorted((directory / "evaluation").glob("*.json"))
        },
        "trained_with": _read_json(environment) if environment.exists() else {},
    }


def largest_difference(planner: Planner, loaded: policy.Policy) -> float:
    """The largest difference between plans of the two, in environment units.

    The observations are drawn over the data's range.
    """
    dims = planner.dims
    given = dims.goal, *[dims.element_size] * (not dims.element_kinds and dims.elements)
    shape = (_COMPARED_PLANS, dims.history, dims.observation)
    unit = np.random.default_rng(0).uniform(-1.0, 1.0, shape)
    states = planner.observation_normalizer.unnormalize(unit)
    # Goals and elements name leading components of a state: here of other rows.
    parts = [np.roll(states, i + 1, axis=0)[..., :n] for i, n in enumerate(given)]
    observations = np.concatenate([states, *parts], axis=-1)
    observations = observations.reshape(_COMPARED_PLANS, *dims.observation_shape)
    key = jax.random.key(0)
    difference = planner.plan(observations, key) - loaded.plan(observations, key)
    return float(np.abs(difference).max())


def _read_json(path: Path):
    try:
        return json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise DataError(path, expected="JSON", found=error) from None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _unique_leaves(tree: Any):
    """Each distinct array once: a few-step student repeats most at every level.

    Returns:
      Name -> array; for each leaf of `tree` its place among them; the tree's structure.
    """
    leaves, structure = jax.tree.flatten_with_path(tree)
    weights, seen, places = {}, {}, []
    for path, leaf in leaves:
        array = np.asarray(leaf)
        if array.dtype == jnp.bfloat16:  # numpy's files have no such numbers.
            array = array.astype(np.float32)
        content = (array.shape, array.dtype.str, _digest(array.tobytes()))
        if content not in seen:
            seen[content] = len(seen)
            weights[jax.tree_util.keystr(path, simple=True, separator="/")] = array
        places.append(seen[content])
    return weights, places, structure


def _plan_fn(planner: Planner, conv: str):
    """The planner's function with its convolutions in the form `conv`."""
    network = dataclasses.replace(planner.settings.network, conv=conv)
    return Planner(
        dataclasses.replace(planner.settings, network=network),
        planner.dims,
        planner.stage,
        planner.params,
        planner.observation_normalizer,
        planner.action_normalizer,
        planner.num_steps,
        planner.plan_return_fn,
        planner.num_candidates,
        planner.precision,
        planner.temperature,
        planner.guidance,
        planner.source,
        changes=planner.changes,
    ).plan_fn


def _conv_forms(planner: Planner) -> dict[str, str]:
    """Platform -> form of the convolutions, as the networks choose it."""
    conv = planner.settings.network.conv
    return {"cpu": "matmul", "default": "lax"} if conv == "auto" else {"default": conv}


def _export_program(planner: Planner, arrays, places, tree) -> export.Exported:
    """(arrays, observations, key data) -> plans, for every platform and batch size.

    The weights are arguments: as constants they would add gigabytes to the program of
    a large network. Where the network chooses its convolutions by platform, so does
    the program, and each platform gets the planner's plans on that platform.
    """
    forms = {
        platform: functools.partial(_plan_fn(planner, conv), first_only=False)
        for platform, conv in _conv_forms(planner).items()
    }

    def plan(arrays, observations, key_data):
        weights = jax.tree.unflatten(tree, [arrays[place] for place in places])
        keys = jax.random.wrap_key_data(key_data, impl=KEY_IMPL)
        return jax.lax.platform_dependent(weights, observations, keys, **forms)

    (batch,) = export.symbolic_shape("b")
    inner = planner.dims.observation_shape
    with _without_source_paths():
        return export.export(jax.jit(plan), platforms=PLATFORMS)(
            [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays],
            jax.ShapeDtypeStruct((batch, *inner), jnp.float32),
            jax.ShapeDtypeStruct((batch, 2), jnp.uint32),
        )


@contextlib.contextmanager
def _without_source_paths():
    """By default a program names the source files of its functions; not within this."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


def _metadata(planner: Planner, exported: export.Exported) -> dict[str, Any]:
    *_, observations, key_data = exported.in_avals
    (plans,) = exported.out_avals
    unit = "actions as the environment takes them"
    if planner.dims.plans_states:
        unit = "states as the environment shows them"
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "format": policy.FORMAT,
        "version": policy.VERSION,
        "task": planner.settings.task,
        "stage": planner.stage,
        "num_steps": planner.num_steps,
        "num_candidates": planner.num_candidates,
        "temperature": planner.temperature,
        "execute": planner.execute,
        "nfe": planner.nfe,
        "dimensions": dataclasses.asdict(planner.dims),
        "inputs": {
            "observations": _array(observations, "as the environment returns them"),
            "key_data": _array(key_data, f"of {KEY_IMPL} keys"),
        },
        "outputs": {"plans": _array(plans, unit)},
        "normalizers": {
            "observations": planner.observation_normalizer.to_dict(),
            "actions": planner.action_normalizer.to_dict(),
            **({"changes": planner.changes.to_dict()} if planner.changes else {}),
        },
        "platforms": list(exported.platforms),
        "conv": _conv_forms(planner),
        "versions": {"ractd_jax": ractd_jax.__version__, **versions},
        "settings": to_dict(planner.settings),
    }


def _array(aval, unit: str) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else str(size) for size in aval.shape]
    return {"shape": shape, "dtype": aval.dtype.name, "unit": unit}


def _pack(
    metadata: dict[str, Any], members: Mapping[str, bytes], is_compressed: bool
) -> bytes:
    """The zip; its bytes depend on the contents alone."""
    text = json.dumps(metadata, indent=2).encode()
    buffer = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if is_compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", how, compresslevel=9) as archive:
        for name, content in {policy.METADATA: text, **members}.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            info.compress_type = how
            archive.writestr(info, content, compresslevel=9)
        archive.comment = _digest(text).encode()
    return buffer.getvalue()
