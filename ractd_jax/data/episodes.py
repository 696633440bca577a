"""Recorded episodes as flat arrays, checked once when they are built."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping

import numpy as np

from ractd_jax.errors import DataError

_MATRICES = ("observations", "actions")
_FLAGS = ("terminals", "timeouts")
_VECTORS = ("rewards", *_FLAGS)
_CONTINUOUS = "continuous actions (one array of floating point)"
_BLOCK_VALUES = 2**20


@dataclasses.dataclass(frozen=True, eq=False)
class Episodes:
    """N transitions of E episodes, one after the other.

    Compared and hashed by identity.

    Attributes:
      observations: [N, O] float32, environment units.
      actions: [N, A] float32, environment units.
      rewards: [N] float32.
      terminals: [N] bool, the environment ended the episode (a fall).
      timeouts: [N] bool, the time limit ended it.
      starts: [E + 1] int32, episode e is ``starts[e] : starts[e + 1]``.
      goals: [N, G] float32 current goal of each step; None where the data has none.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminals: np.ndarray
    timeouts: np.ndarray
    starts: np.ndarray
    goals: np.ndarray | None = None

    @property
    def num_transitions(self) -> int:
        return len(self.rewards)

    @property
    def num_episodes(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """[E] steps of each episode."""
        return np.diff(self.starts)

    @property
    def returns(self) -> np.ndarray:
        """[E] undiscounted true returns."""
        return np.add.reduceat(self.rewards.astype(np.float64), self.starts[:-1])

    @functools.cached_property
    def sha256(self) -> str:
        """Digest of every array's name, dtype, shape and values."""
        hasher = hashlib.sha256()
        for field in dataclasses.fields(self):
            array = getattr(self, field.name)
            if array is not None:
                array = np.ascontiguousarray(array)
                header = f"{field.name} {array.dtype.str} {array.shape}\n"
                hasher.update(header.encode())
                hasher.update(array.data)
        return hasher.hexdigest()


def split_at_goals(episodes: Episodes, source: object) -> Episodes:
    """The same steps, where an episode also ends when the goal changes.

    Raises:
      DataError: the data has no goals.
    """
    if episodes.goals is None:
        raise DataError(
            source,
            field="goals",
            expected="the goal at each step (plan.split_at_goals)",
            found="nothing",
        )
    changed = (episodes.goals[1:] != episodes.goals[:-1]).any(axis=1)
    starts = np.union1d(episodes.starts, np.flatnonzero(changed) + 1)
    return dataclasses.replace(episodes, starts=starts.astype(np.int32))


def build_episodes(fields: dict[str, np.ndarray], source: object) -> Episodes:
    """Checks flat fields and finds where episodes end.

    An episode ends at a terminal or a timeout. Steps after the last end form an
    episode that the recording cut off. Arrays that are float32 already are not copied.

    Args:
      fields: ``observations`` [N, O], ``actions`` [N, A], ``rewards``, ``terminals``
        and ``timeouts`` [N]; ``goals`` [N, G], if the data has goals.
      source: the file or dataset id, named in errors.

    Raises:
      DataError: a field is missing, empty, of a wrong rank, length or dtype, or not
        finite; or the actions are discrete.
    """
    arrays = {}
    for name in _MATRICES + _VECTORS:
        if name not in fields:
            raise DataError(source, field=name, expected="an array", found="nothing")
        value = fields[name]
        if name == "actions":
            value = continuous_actions(value, source)
        rank, flags = 1 if name in _VECTORS else 2, name in _FLAGS
        arrays[name] = checked_field(value, name, source, rank, flags=flags)
    if fields.get("goals") is not None:
        arrays["goals"] = checked_field(fields["goals"], "goals", source, 2)
    check_rows(arrays, source)
    length = len(arrays["observations"])
    if length >= 2**31:
        raise DataError(source, expected="fewer than 2^31 transitions", found=length)
    ends = np.flatnonzero(arrays["terminals"] | arrays["timeouts"]) + 1
    if len(ends) == 0 or ends[-1] != length:
        ends = np.append(ends, length)
    starts = np.concatenate([[0], ends]).astype(np.int32)
    return Episodes(**arrays, starts=starts)


def continuous_actions(actions, source: object) -> np.ndarray:
    """`actions` as they are: one array of floating-point numbers, of any shape.

    Raises:
      DataError: they are in parts, as of a Tuple or Dict space, or are integers, as
        discrete actions are.
    """
    if isinstance(actions, (Mapping, tuple)):
        kind = "Dict" if isinstance(actions, Mapping) else "Tuple"
        found = f"a {kind} of {len(actions)} parts"
        raise DataError(source, field="actions", expected=_CONTINUOUS, found=found)
    actions = np.asarray(actions)
    check_continuous(actions.dtype, "actions", source)
    return actions


def check_continuous(dtype: np.dtype, field: str, source: object) -> None:
    """Raises DataError for actions that are not floating-point numbers."""
    if dtype.kind in "iub":
        found = f"{dtype}, as discrete actions are"
        raise DataError(source, field=field, expected=_CONTINUOUS, found=found)
    if dtype.kind != "f":
        raise DataError(source, field=field, expected="numbers", found=dtype)


def empty_aligned(shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    """An uninitialised array that starts at a multiple of 64 bytes.

    JAX on a CPU uses its memory directly; it would copy an unaligned array.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffer = np.empty(size + 64, np.uint8)
    offset = -buffer.ctypes.data % 64
    return buffer[offset : offset + size].view(dtype).reshape(shape)


def as_float32(array) -> np.ndarray:
    """A contiguous float32 array, converted in blocks, or `array` if it is one already.

    Args:
      array: a numpy array or h5py dataset of numbers, of rank 1 or more. Numbers that
        float32 cannot hold become infinite.
    """
    if isinstance(array, np.ndarray) and array.dtype == np.float32:
        return np.ascontiguousarray(array)
    result = empty_aligned(array.shape)
    rows = max(1, _BLOCK_VALUES // max(1, int(np.prod(array.shape[1:]))))
    with np.errstate(over="ignore"):
        for start in range(0, len(result), rows):
            result[start : start + rows] = array[start : start + rows]
    return result


def checked_field(
    array, name: str, source: object, rank: int, *, flags: bool = False
) -> np.ndarray:
    """`array` as finite float32 numbers, or as flags.

    Args:
      array: numbers; of rank 1, a column [N, 1] is taken too.
      name: of the field, for errors.
      source: the file or dataset id, for errors.
      rank: 1 or 2.
      flags: whether the values are 0 or 1, and become bool.

    Raises:
      DataError: it is empty, of another rank, not numbers, or not finite in float32.
    """
    array = np.asarray(array)
    if rank == 1 and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind not in "fiub":
        raise DataError(source, field=name, expected="numbers", found=array.dtype)
    if array.ndim != rank or array.size == 0:
        raise DataError(
            source,
            field=name,
            expected=f"a non-empty array of rank {rank}",
            found=f"shape {array.shape}",
        )
    if flags:
        if not ((array == 0) | (array == 1)).all():
            raise DataError(source, field=name, expected="0 or 1", found="other values")
        return array.astype(bool)
    array = as_float32(array)
    row = _first_bad_row(array)
    if row is not None:
        values = array[row].ravel()
        raise DataError(
            source,
            field=name,
            expected="finite float32 numbers",
            found=f"{values[~np.isfinite(values)][0]} in row {row}",
        )
    return array


def check_rows(arrays: Mapping[str, np.ndarray], source: object) -> None:
    """Raises DataError for an array that has not as many rows as the first one."""
    first, *others = arrays
    for name in others:
        if len(arrays[name]) != len(arrays[first]):
            raise DataError(
                source,
                field=name,
                expected=f"{len(arrays[first])} rows, as {first} have",
                found=len(arrays[name]),
            )


def _first_bad_row(array: np.ndarray) -> int | None:
    """The first row with a number that is not finite."""
    rows = max(1, _BLOCK_VALUES // max(1, array[0].size))
    for start in range(0, len(array), rows):
        block = array[start : start + rows]
        finite = np.isfinite(block).reshape(len(block), -1).all(axis=1)
        if not finite.all():
            return start + int(np.flatnonzero(~finite)[0])
    return None


def concatenate(parts: list[Episodes]) -> Episodes:
    """The episodes of all `parts`, in order."""
    if len(parts) == 1:
        return parts[0]
    names: tuple[str, ...] = _MATRICES + _VECTORS
    if all(part.goals is not None for part in parts):
        names += ("goals",)
    offsets = np.cumsum([0] + [part.num_transitions for part in parts])
    flat = {}
    for name in names:
        arrays = [getattr(part, name) for part in parts]
        shape = (int(offsets[-1]), *arrays[0].shape[1:])
        flat[name] = empty_aligned(shape, arrays[0].dtype)
        np.concatenate(arrays, out=flat[name])
    starts = [part.starts[:-1] + off for part, off in zip(parts, offsets, strict=False)]
    joined = np.concatenate([*starts, offsets[-1:]]).astype(np.int32)
    return Episodes(**flat, starts=joined)


def return_to_go(
    episodes: Episodes, discount: float, termination_penalty: float = 0.0
) -> np.ndarray:
    """[N] discounted sums of the rewards from each step to the end of its episode.

    Args:
      episodes: the episodes.
      discount: gamma in [0, 1].
      termination_penalty: added to the reward of a step that the environment ended,
        such as -100 for a fall (Duan 2025, B.2.2).
    """
    # Imported here: it takes half a second, and planners load this module without it.
    import scipy.signal

    rewards = episodes.rewards.astype(np.float64)
    rewards = rewards + termination_penalty * episodes.terminals
    result = np.empty(len(rewards), np.float32)
    for start, stop in zip(episodes.starts[:-1], episodes.starts[1:], strict=True):
        backwards = rewards[start:stop][::-1]
        total = scipy.signal.lfilter([1.0], [1.0, -discount], backwards)
        result[start:stop] = total[::-1]
    return result


def return_ranks(episodes: Episodes) -> np.ndarray:
    """[E] float32 rank of each episode by its return, from -1 to 1.

    The rank is the share of the steps that lie in worse episodes, so that many short
    episodes count no more than a few long ones. Equal returns have equal ranks. The
    best rank is 1, which all episodes have where all returns are equal.
    """
    values, place = np.unique(episodes.returns, return_inverse=True)
    held = np.bincount(place, weights=episodes.lengths)
    middle = np.cumsum(held) - held / 2
    if len(values) == 1:
        return np.ones(episodes.num_episodes, np.float32)
    ranks = 2 * (middle - middle[0]) / (middle[-1] - middle[0]) - 1
    return ranks[place].astype(np.float32)
