"""1,350 damaged files: each loads to what was written, or fails with our error.

Bytes are flipped, runs overwritten, files cut, fields dropped, renamed, reshaped,
retyped, emptied, or filled with NaN. A damaged file must not hang, must not end in a
traceback of h5py or numpy, and must leave nothing behind.
"""

import os
import shutil
import time

import h5py
import numpy as np
import pytest

from ractd_jax.data.d4rl_hdf5 import load_d4rl_hdf5, save_d4rl_hdf5
from ractd_jax.data.minari_source import load_minari
from ractd_jax.errors import DataError
from ractd_jax.recording.minari_writer import save_minari
from tests.test_sources import DATASET_ID, make_episode

RECORDED = [make_episode(40, i % 2 == 0, i) for i in range(4)]
FIELDS = ("observations", "actions", "rewards", "terminals", "timeouts")
SECONDS = 2.0


def arrays_of(episodes) -> dict[str, np.ndarray]:
    return {name: getattr(episodes, name) for name in FIELDS}


def same(a: dict, b: dict) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in FIELDS)


def damage_bytes(path, rng) -> None:
    """One of: flipped bits, an overwritten run, a cut, an insertion, nothing left."""
    content = bytearray(path.read_bytes())
    kind = rng.integers(5)
    at = int(rng.integers(len(content)))
    if kind <= 1:
        for place in rng.integers(len(content), size=int(rng.integers(1, 9))):
            content[place] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        run = int(rng.integers(1, 512))
        content[at : at + run] = rng.bytes(len(content[at : at + run]))
    elif kind == 3:
        del content[at:]
    else:
        content[at:at] = rng.bytes(int(rng.integers(1, 64)))
    path.write_bytes(bytes(content))


def damage_fields(path, rng) -> None:
    """One field dropped, renamed, reshaped, cut, emptied, retyped, or not finite."""
    name = FIELDS[rng.integers(len(FIELDS))]
    with h5py.File(path, "r+") as file:
        values = file[name][()]
        del file[name]
        kind = rng.integers(9)
        if kind == 1:
            file[f"{name}_"] = values
        elif kind == 2:
            file[name] = values.reshape(-1, 2, *values.shape[1:])
        elif kind == 3:
            file[name] = values[: rng.integers(len(values))]
        elif kind == 4:
            file[name] = values[:0]
        elif kind == 5:
            kinds = ("S4", np.int8, np.float64, np.complex64, np.uint64, bool)
            file[name] = values.astype(kinds[rng.integers(len(kinds))])
        elif kind == 6:
            values = values.astype(np.float64)
            values.flat[rng.integers(values.size)] = rng.choice([np.nan, np.inf, 1e300])
            file[name] = values
        elif kind == 7:
            file.create_group(name)
        elif kind == 8:
            values = values.copy()
            values.flat[rng.integers(values.size)] += 1
            file[name] = values


def outcome(load, whole) -> str:
    """``same``, ``refused`` or ``other``; fails where it took too long."""
    begin = time.perf_counter()
    try:
        result = "same" if same(arrays_of(load()), whole) else "other"
    except DataError as error:
        assert str(error) and error.path
        result = "refused"
    assert time.perf_counter() - begin < SECONDS
    return result


@pytest.mark.parametrize("damage", [damage_bytes, damage_fields])
def test_damaged_files_written_here(damage, tmp_path):
    """Digests tell: nothing but what was written is ever loaded."""
    pristine, path = tmp_path / "whole.hdf5", tmp_path / "damaged.hdf5"
    save_d4rl_hdf5(pristine, RECORDED, {"made_by": "a test"})
    whole = arrays_of(load_d4rl_hdf5(pristine)[0])
    outcomes = []
    for seed in range(400):
        shutil.copy(pristine, path)
        damage(path, np.random.default_rng(seed))
        outcomes.append(outcome(lambda: load_d4rl_hdf5(path)[0], whole))
    assert sorted(os.listdir(tmp_path)) == ["damaged.hdf5", "whole.hdf5"]
    assert "other" not in outcomes
    assert outcomes.count("refused") > 100


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_damaged_files_of_others(compression, tmp_path):
    """Without digests a flipped bit in a number cannot be seen; all else is."""
    pristine, path = tmp_path / "whole.hdf5", tmp_path / "damaged.hdf5"
    save_d4rl_hdf5(tmp_path / "ours.hdf5", RECORDED, {})
    whole = arrays_of(load_d4rl_hdf5(tmp_path / "ours.hdf5")[0])
    with h5py.File(pristine, "w") as file:
        for name, values in whole.items():
            file.create_dataset(name, data=values, compression=compression)
    outcomes = []
    for seed in range(200):
        shutil.copy(pristine, path)
        damage = damage_fields if seed % 2 else damage_bytes
        damage(path, np.random.default_rng(seed))
        outcomes.append(outcome(lambda: load_d4rl_hdf5(path)[0], whole))
    assert outcomes.count("refused") > 50
    if compression:
        # zlib carries a checksum of its own; what is left is edited on purpose.
        edited = outcomes[0::2]
        assert edited.count("other") <= 2


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_minari_datasets(tmp_path):
    """Data files and metadata alike."""
    root = tmp_path / "root"
    save_minari(
        DATASET_ID, RECORDED, "Hopper-v5", str(root), algorithm="-", description="-"
    )
    whole = arrays_of(load_minari(DATASET_ID, str(root))[0])
    folder = root / DATASET_ID / "data"
    pristine = {path: path.read_bytes() for path in folder.iterdir()}
    outcomes = []
    for seed in range(150):
        for path, content in pristine.items():
            path.write_bytes(content)
        rng = np.random.default_rng(seed)
        damage_bytes(folder / ("metadata.json", "main_data.hdf5")[seed % 4 > 0], rng)
        load = lambda: load_minari(DATASET_ID, str(root), download=False)[0]  # noqa: E731
        outcomes.append(outcome(load, whole))
    assert "other" not in outcomes
    assert outcomes.count("refused") > 50
