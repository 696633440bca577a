"""What readers of other libraries' files share: rules for fields, and episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from ractd_jax.data.episodes import Episodes, build_episodes, empty_aligned
from ractd_jax.errors import DataError


def no_rewards(length: int, field: str, source: object) -> np.ndarray:
    """[length] zeros for data without rewards, with a warning."""
    logging.warning(
        "%s: holds no '%s': every reward is 0, and what learns from rewards refuses it",
        source,
        field,
    )
    return np.zeros(length, np.float32)


def join(parts: Mapping[str, np.ndarray], source: object) -> np.ndarray:
    """The rows of all `parts`, one after the other, in aligned memory.

    Args:
      parts: name of each in the file -> its rows.
      source: the file, named in errors.

    Raises:
      DataError: one has other columns than the first.
    """
    first, arrays = next(iter(parts)), list(parts.values())
    columns = arrays[0].shape[1:]
    for name, part in parts.items():
        if part.shape[1:] != columns:
            raise DataError(
                source,
                field=name,
                expected=f"{columns[0]} columns, as {first} has",
                found=part.shape[1],
            )
    shape = (sum(len(part) for part in arrays), *columns)
    return np.concatenate(arrays, out=empty_aligned(shape, arrays[0].dtype))


def chosen_keys(
    shapes: Mapping[str, tuple[int, ...] | None], wanted: str, source: object
) -> list[str]:
    """The parts that make up an observation, in their order.

    Args:
      shapes: key -> shape of its values at one step; None for what is no number.
      wanted: keys with commas (``dataset.observation_keys``); empty for all that are
        numbers or vectors, in alphabetical order.
      source: the file, named in errors.

    Raises:
      DataError: a wanted key is not there, occurs twice or is no vector, or no key is.
    """
    vectors = sorted(
        key for key, shape in shapes.items() if shape is not None and len(shape) < 2
    )
    others = {key: shape for key, shape in shapes.items() if key not in vectors}
    keys = [key.strip() for key in wanted.split(",") if key.strip()]
    for key in keys:
        if key not in vectors or keys.count(key) > 1:
            found = "nothing" if key not in shapes else f"shape {shapes[key]}"
            raise DataError(
                source,
                field=key,
                expected=f"some of {', '.join(vectors) or 'no keys'}, once each "
                "(config.dataset.observation_keys)",
                found="it twice" if key in vectors else found,
            )
    described = ", ".join(
        f"{key} {shape or ''}".strip() for key, shape in others.items()
    )
    if not vectors:
        raise DataError(
            source,
            field="observations",
            expected="a part that is a vector at each step",
            found=described or "nothing",
        )
    if not keys and others:
        logging.warning("%s: left out, as they are no vectors: %s", source, described)
    return keys or vectors


def last_rows(lengths: Sequence[int]) -> np.ndarray:
    """[N] bool, the last row of each of E episodes of these lengths."""
    ends = np.zeros(sum(lengths), bool)
    ends[np.cumsum(lengths) - 1] = True
    return ends


def whole_episodes(
    fields: Mapping[str, np.ndarray],
    terminals: np.ndarray,
    ends: np.ndarray,
    source: object,
) -> Episodes:
    """Episodes that are recorded as such, wherever the environment's end is flagged.

    Some files go on recording after the task is done. Such an episode stays whole, and
    its early flags are kept: no value is taken from behind them.

    Args:
      fields: ``observations`` [N, O], ``actions`` [N, A] and ``rewards`` [N].
      terminals: [N] bool, the environment's end.
      ends: [N] bool, the last row of each episode. One that is not a terminal is a
        timeout. Rows behind the last end are an episode that the recording cut off.
      source: the file, named in errors.

    Raises:
      DataError: see :func:`ractd_jax.data.episodes.build_episodes`.
    """
    flags = {"terminals": terminals & ends, "timeouts": ends & ~terminals}
    episodes = build_episodes({**fields, **flags}, source)
    early = int((terminals & ~ends).sum())
    if not early:
        return episodes
    logging.warning(
        "%s: the environment's end is flagged at %d steps within its %d episodes, "
        "which go on: they stay whole, and critics take no value from behind a flag",
        source,
        early,
        episodes.num_episodes,
    )
    return dataclasses.replace(episodes, terminals=terminals)
