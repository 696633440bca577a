"""Random damage to checkpoints, and whether it is found."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import signal
from pathlib import Path

import jax
import numpy as np

from ractd_jax.errors import CheckpointError
from ractd_jax.settings import Settings
from ractd_jax.storage.checkpoint import FOLDER, StoredModel
from ractd_jax.training.interruption import Interrupted
from ractd_jax.training.loop import train
from ractd_jax.training.stages import Stage

KINDS = (
    "bit flip",
    "truncation",
    "deletion",
    "zeroed block",
    "appended bytes",
    "renamed file",
    "added file",
    "swapped files",
    "file of another step",
    "renamed checkpoint",
)


def tree_digest(tree) -> str:
    """SHA-256 of the leaves of a tree, their dtypes and shapes included."""
    hasher = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        array = np.ascontiguousarray(leaf)
        hasher.update(f"{array.dtype.str}{array.shape}".encode())
        hasher.update(array.tobytes())
    return hasher.hexdigest()


def stop_at(stage: Stage, step: int) -> Stage:
    """`stage`, which sends itself SIGTERM when it logs `step`."""

    def probe(state, training):
        if int(state.step) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return {}

    return dataclasses.replace(stage, probe=probe)


def train_until(stage: Stage, settings: Settings, workdir: Path, step: int) -> None:
    """Trains up to `step`, as a training that was told to stop there."""
    try:
        train(stop_at(stage, step), settings.run, settings.seed, workdir)
    except Interrupted:
        return
    raise AssertionError(f"{workdir}: expected a stop at step {step}, found the end")


def corrupt(checkpoints: Path, step: int, kind: str, rng) -> str:
    """Damages the checkpoint of `step` in a folder of them.

    Returns:
      The file that was damaged.
    """
    folder = checkpoints / str(step)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    full = [path for path in files if path.stat().st_size]
    file = full[rng.integers(len(full))]
    content = bytearray(file.read_bytes())
    if kind == "bit flip":
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        file.write_bytes(content)
    elif kind == "truncation":
        file.write_bytes(content[: rng.integers(len(content))])
    elif kind == "deletion":
        file.unlink()
    elif kind == "zeroed block":
        start = int(rng.integers(len(content)))
        # Some files have zeros of their own: what is zeroed must have been something.
        start = next(i for i in (*range(start, len(content)), 0) if content[i])
        stop = min(start + int(rng.integers(1, 4096)), len(content))
        content[start:stop] = bytes(stop - start)
        file.write_bytes(content)
    elif kind == "appended bytes":
        file.write_bytes(content + rng.bytes(int(rng.integers(1, 4096))))
    elif kind == "renamed file":
        file.rename(file.with_name(f"{file.name}_"))
    elif kind == "added file":
        file = file.with_name("added")
        file.write_bytes(rng.bytes(100))
    elif kind == "swapped files":
        others = [path for path in files if path.read_bytes() != bytes(content)]
        other = others[rng.integers(len(others))]
        file.write_bytes(other.read_bytes())
        other.write_bytes(content)
    elif kind == "file of another step":
        differing = [
            (path, other)
            for path in files
            for other in sorted(checkpoints.glob(f"*/{path.relative_to(folder)}"))
            if other.read_bytes() != path.read_bytes()
        ]
        file, other = differing[rng.integers(len(differing))]
        shutil.copyfile(other, file)
    elif kind == "renamed checkpoint":
        folder.rename(checkpoints / str(step + 1))
        return str(step + 1)
    else:
        raise ValueError(f"kind: expected one of {KINDS}, found {kind!r}")
    return file.relative_to(checkpoints).as_posix()


def check_corruptions(
    stage: Stage, workdir: Path, scratch: Path, count: int, seed: int = 0
) -> dict:
    """Damages copies of a training's checkpoints and opens each.

    Every fifth copy has all of its checkpoints damaged.

    Returns:
      ``made`` and ``found`` by kind; ``older_taken``, ``refused``; ``loaded_damaged``,
      descriptions of damage that went unnoticed.
    """
    rng = np.random.default_rng(seed)
    template = jax.eval_shape(stage.init_params, jax.random.key(0))
    steps = sorted(int(path.name) for path in (workdir / FOLDER).iterdir())
    expected = _digests_of_steps(workdir, scratch, steps, template)
    counts = {"made": dict.fromkeys(KINDS, 0), "found": dict.fromkeys(KINDS, 0)}
    counts |= {"older_taken": 0, "refused": 0, "loaded_damaged": []}
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        victims = steps if number % 5 == 4 else steps[-1:]
        folder = scratch / "damaged"
        shutil.copytree(workdir / FOLDER, folder / FOLDER)
        files = [corrupt(folder / FOLDER, step, kind, rng) for step in victims]
        counts["made"][kind] += 1
        try:
            stored = StoredModel(folder)
            loaded = stored.step, tree_digest(stored.load(template))
        except CheckpointError:
            loaded = None
        wanted = None if len(victims) > 1 else (steps[-2], expected[steps[-2]])
        if loaded == wanted:
            counts["found"][kind] += 1
            counts["older_taken" if wanted else "refused"] += 1
        else:
            counts["loaded_damaged"].append(f"{kind}: {', '.join(files)}: {loaded}")
        shutil.rmtree(folder)
    return counts


def _digests_of_steps(workdir, scratch, steps, template) -> dict[int, str]:
    """Digests of the parameters of each whole checkpoint, opened alone."""
    digests = {}
    for step in steps:
        folder = scratch / "alone"
        shutil.copytree(workdir / FOLDER / str(step), folder / FOLDER / str(step))
        digests[step] = tree_digest(StoredModel(folder).load(template))
        shutil.rmtree(folder)
    return digests


def check_resumed_trainings(
    stage: Stage,
    settings: Settings,
    workdir: Path,
    expected: str,
    scratch: Path,
    count: int,
    seed: int = 0,
) -> dict:
    """Damages the newest checkpoint of copies of a cut-off training; trains each on.

    Args:
      stage: the training.
      settings: its settings.
      workdir: where it was cut off.
      expected: digest of the state that it ends in undisturbed.
      scratch: an empty folder.
      count: copies.
      seed: of the damage.

    Returns:
      ``made`` and ``identical``: as many ended in that state, bit for bit.
    """
    rng = np.random.default_rng(seed)
    identical = 0
    for number in range(count):
        folder = scratch / f"resumed{number}"
        shutil.copytree(workdir, folder)
        newest = max(int(path.name) for path in (folder / FOLDER).iterdir())
        corrupt(folder / FOLDER, newest, KINDS[number % len(KINDS)], rng)
        state = train(stage, settings.run, settings.seed, folder)
        identical += tree_digest(state) == expected
        shutil.rmtree(folder)
    return {"made": count, "identical": identical}
