"""Shared by reading and writing Minari datasets: the local root, and a digest."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator

import minari
import numpy as np
from absl import logging

from ractd_jax.errors import DataError

_ROOT_VARIABLE = "MINARI_DATASETS_PATH"
DIGEST = "ractd_sha256"


@contextlib.contextmanager
def local_root(root: str) -> Iterator[None]:
    """Points Minari at `root`, or at its own default if empty.

    Minari makes its default when it looks for a dataset there. Where that cannot be, an
    empty folder, which this process removes at its end, takes its place.

    Raises:
      DataError: the folder that the user's environment names cannot be made.
    """
    before = os.environ.get(_ROOT_VARIABLE)
    root = root or _unusual_root()
    if root:
        # Minari joins its parts wrongly when the root is relative.
        os.environ[_ROOT_VARIABLE] = os.path.abspath(root)
    try:
        yield
    finally:
        if root and before is None:
            del os.environ[_ROOT_VARIABLE]
        elif root:
            os.environ[_ROOT_VARIABLE] = before


def default_root() -> str:
    """Where Minari keeps datasets; begins with ~ for a user without a home."""
    return os.environ.get(_ROOT_VARIABLE) or os.path.expanduser("~/.minari/datasets")


def _unusual_root() -> str:
    """Empty where Minari's own default can be used; else the folder in its place."""
    folder = default_root()
    try:
        if folder.startswith("~"):
            raise OSError("the user has no home folder")
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        if _ROOT_VARIABLE in os.environ:
            raise DataError(
                folder, expected=f"a folder ({_ROOT_VARIABLE})", found=error
            ) from None
        logging.log_first_n(
            logging.WARNING,
            "Minari's default root cannot be used (%s): datasets are downloaded for "
            "this process only; config.dataset.root or %s names a folder for them",
            1,
            error,
            _ROOT_VARIABLE,
        )
        return _root_of_this_process()
    return ""


@functools.cache
def _root_of_this_process() -> str:
    folder = tempfile.mkdtemp(prefix="minari_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def has_minari(dataset_id: str, root: str) -> bool:
    """Whether `dataset_id` lies in the local root."""
    if root and not os.path.isdir(root):
        return False  # asking Minari would make the folder
    with local_root(root):
        return dataset_id in minari.list_local_datasets()


def num_transitions(dataset_id: str, root: str) -> int:
    """Steps of a dataset that lies in the local root."""
    with local_root(root):
        return int(minari.list_local_datasets()[dataset_id]["total_steps"])


def hash_episode(hasher, episode) -> None:
    """Updates `hasher` with everything of an episode that is ever read."""

    def update(tree):
        if isinstance(tree, dict):
            for key in sorted(tree):
                hasher.update(key.encode())
                update(tree[key])
        elif isinstance(tree, (tuple, list)):
            for item in tree:
                update(item)
        else:
            array = np.ascontiguousarray(tree)
            hasher.update(f"{array.dtype.str}{array.shape}".encode())
            hasher.update(array.data)

    update(episode.observations)
    for name in ("actions", "rewards", "terminations"):
        update(np.asarray(getattr(episode, name)))
