"""LeRobot datasets, v2 and v3: a folder of parquet files with ``meta/info.json``.

Columns of the files ``data/*/*.parquet``: ``action``, ``observation.*``,
``episode_index``, ``frame_index``, and perhaps ``next.reward``, ``next.done``,
``next.truncated`` and ``next.success``. Videos and images are left out.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ractd_jax.data.episodes import Episodes, check_continuous, checked_field
from ractd_jax.data.origin import Origin
from ractd_jax.data.parquet import read_columns
from ractd_jax.data.readers.fields import (
    chosen_keys,
    no_rewards,
    whole_episodes,
)
from ractd_jax.errors import DataError
from ractd_jax.settings import Dataset

_INFO = "meta/info.json"
_INDICES = ("episode_index", "frame_index")
_REWARD, _DONE = "next.reward", "next.done"
_FLAGS = (_DONE, "next.truncated", "next.success")


def read_lerobot(options: Dataset, flatten: str) -> tuple[Episodes, Origin]:
    """Reads a dataset's folder. It names no environment.

    ``next.done`` says that an episode ends. It is a terminal, unless ``next.truncated``
    is true there or ``next.success`` is false; every other end is a timeout.

    Args:
      options: with the folder as ``path``, and perhaps ``observation_keys``.
      flatten: not used: the keys say which parts an observation has.

    Raises:
      ConfigError: pyarrow is not installed.
      DataError: a file is missing or damaged, lacks a column or frames, or holds
        discrete actions, or values that are no finite float32 numbers.
    """
    path = options.path
    features, total = _read_info(Path(path))
    shapes = {key: features[key] for key in features if key.startswith("observation")}
    keys = chosen_keys(shapes, options.observation_keys, path)
    optional = [name for name in (_REWARD, *_FLAGS) if name in features]
    columns = _read_columns(Path(path), [*_INDICES, *keys, "action", *optional], total)
    order, ends = _episodes(columns, path)
    arrays = {
        name: _checked(column[order], name, path, is_vector=name in (*keys, "action"))
        for name, column in columns.items()
    }
    rewards = arrays.get(_REWARD)
    if rewards is None:
        rewards = no_rewards(total, _REWARD, path)
    fields = {
        "observations": np.concatenate([arrays[key] for key in keys], axis=1),
        "actions": arrays["action"],
        "rewards": rewards,
    }
    episodes = whole_episodes(fields, _terminals(arrays, total), ends, path)
    return episodes, Origin(
        has_rewards=_REWARD in arrays, observation_keys=",".join(keys)
    )


def _read_info(folder: Path) -> tuple[dict[str, tuple[int, ...] | None], int]:
    """Of ``meta/info.json``: feature -> shape, None without numbers; and the frames."""
    path = folder / _INFO
    expected = "a LeRobot dataset of version 2 or 3"
    try:
        info = json.loads(path.read_text())
        version = str(info["codebase_version"])
        features = {
            key: tuple(feature["shape"]) if _is_number(feature["dtype"]) else None
            for key, feature in info["features"].items()
        }
        total = int(info["total_frames"])
    except OSError as error:
        raise DataError(path, expected=expected, found=error.strerror) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            path,
            expected="JSON with codebase_version, total_frames and features",
            found=f"{type(error).__name__}: {error}",
        ) from None
    if not version.startswith(("v2", "v3")):
        raise DataError(
            path, field="codebase_version", expected=expected, found=version
        )
    return features, total


def _is_number(dtype: str) -> bool:
    """Whether a feature's dtype is one of numpy's numbers: not video, image, string."""
    try:
        return np.dtype(dtype).kind in "fiub"
    except TypeError:
        return False


def _read_columns(folder: Path, names: list[str], total: int) -> dict[str, np.ndarray]:
    """The columns of all parquet files, one file after the other."""
    files = sorted(folder.glob("data/*/*.parquet"))
    if not files:
        raise DataError(folder, expected="files data/*/*.parquet", found="none")
    columns = read_columns(files, names, folder)
    found = len(columns["action"])
    if found != total:
        raise DataError(
            folder,
            field="action",
            expected=f"{total} frames ({_INFO})",
            found=f"{found} in {len(files)} files",
        )
    return columns


def _episodes(columns: dict[str, np.ndarray], path) -> tuple[np.ndarray, np.ndarray]:
    """([N] rows in the order of episodes and frames, [N] bool last frames)."""
    length = len(columns["action"])
    # Some writers store numbers as vectors of one.
    episode, frame = (columns.pop(n).reshape(length, -1)[:, 0] for n in _INDICES)
    order = np.lexsort((frame, episode))
    episode, frame = episode[order], frame[order]
    first = np.diff(episode, prepend=episode[:1] - 1) != 0
    rows = np.arange(length)
    expected = rows - np.maximum.accumulate(np.where(first, rows, 0))
    wrong = np.flatnonzero(frame != expected)
    if len(wrong):
        row = wrong[0]
        raise DataError(
            path,
            field="frame_index",
            expected=f"frame {expected[row]} of episode {episode[row]}",
            found=f"frame {frame[row]}",
        )
    return order, np.append(first[1:], True)


def _checked(column: np.ndarray, name: str, path, *, is_vector: bool) -> np.ndarray:
    """A column as vectors [N, K] or as numbers or flags [N]."""
    if name == "action":
        check_continuous(column.dtype, name, path)
    if is_vector:
        return checked_field(column.reshape(len(column), -1), name, path, 2)
    return checked_field(column, name, path, 1, flags=name in _FLAGS)


def _terminals(arrays: dict[str, np.ndarray], length: int) -> np.ndarray:
    """[length] bool, where the environment ended an episode."""
    done, truncated, success = (arrays.get(name) for name in _FLAGS)
    terminals = np.zeros(length, bool) if done is None else done
    if truncated is not None:
        terminals = terminals & ~truncated
    return terminals if success is None else terminals & success
