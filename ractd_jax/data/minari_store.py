"""Shared by reading and writing Minari datasets: the local root, and a digest."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import minari
import numpy as np

_ROOT_VARIABLE = "MINARI_DATASETS_PATH"
DIGEST = "ractd_sha256"


@contextlib.contextmanager
def local_root(root: str) -> Iterator[None]:
    """Points Minari at `root`, or at its own default if empty."""
    before = os.environ.get(_ROOT_VARIABLE)
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


def has_minari(dataset_id: str, root: str) -> bool:
    """Whether `dataset_id` lies in the local root."""
    if root and not os.path.isdir(root):
        return False  # asking Minari would make the folder
    with local_root(root):
        return dataset_id in minari.list_local_datasets()


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
