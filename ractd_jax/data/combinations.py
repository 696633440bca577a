"""Combinations of a start and a goal that are kept out of training, and waypoints.

A maze's regions are blocks of 2 x 2 cells. Every n-th pair of regions, by a hash that
does not depend on the machine, is held out: each region is seen as a start and as a
goal, and so is each way through it, but never this start with this goal.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from ractd_jax.data.episodes import Episodes
from ractd_jax.data.windows import WindowIndex
from ractd_jax.errors import ConfigError

if TYPE_CHECKING:
    from ractd_jax.tasks.maze_map import MazeMap

_BLOCK = 2  # cells
_DRAWS = 2  # rows for each window


def regions_of(maze: MazeMap, positions: np.ndarray) -> np.ndarray:
    """[...] int32 regions that `positions` [..., 2] lie in, in metres."""
    rows, columns = maze.walls.shape
    cells = np.clip(maze.xy_to_cell(positions), 0, (rows - 1, columns - 1))
    blocks = cells // _BLOCK
    across = -(-columns // _BLOCK)
    return (blocks[..., 0] * across + blocks[..., 1]).astype(np.int32)


def held_out_pairs(maze: MazeMap, every: int) -> np.ndarray:
    """[R, R] bool, which (start, goal) regions no window leads between.

    A region keeps at least one other as a goal and one as a start, and itself.

    Args:
      maze: its walls.
      every: n; one in n pairs, chosen by a hash.

    Raises:
      ConfigError: fewer than 2.
    """
    if every < 2:
        raise ConfigError(
            f"config.dataset.held_out_pairs: expected 0 or at least 2, found {every}"
        )
    free = np.unique(regions_of(maze, maze.cell_to_xy(maze.free_cells)))
    held = np.zeros((free.max() + 1,) * 2, bool)
    for start in free:
        for goal in free:
            digest = zlib.crc32(f"{maze.name} {start} {goal}".encode())
            held[start, goal] = start != goal and digest % every == 0
    for start in free:
        others = free[free != start]
        if held[start, others].all():
            held[start, others[0]] = False
        if held[others, start].all():
            held[others[0], start] = False
    return held


def seen_rows(
    index: WindowIndex,
    episodes: Episodes,
    maze: MazeMap,
    every: int,
    horizon: int,
    stride: int,
    seed: int = 0,
) -> tuple[WindowIndex, np.ndarray]:
    """Windows with a lag each, none of which leads between regions held out together.

    Args:
      index: windows to draw from, twice each.
      episodes: what they lie in; observations begin with x and y.
      maze: its walls.
      every: of :func:`held_out_pairs`.
      horizon: H, states of a plan; a lag is 1 .. H - 1.
      stride: transitions between two states of a plan.
      seed: of the lags.

    Returns:
      The windows [W], some of them twice, and their lags, int32 [W].
    """
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(len(index.start), dtype=np.int32), _DRAWS)
    lags = rng.integers(1, horizon, len(rows)).astype(np.int32)
    start, episode = index.start[rows], index.episode[rows]
    arrival = np.minimum(start + stride * lags, index.bounds[episode + 1] - 1)
    regions = regions_of(maze, episodes.observations[:, :2])
    held = held_out_pairs(maze, every)
    seen = ~held[regions[start], regions[arrival]]
    return WindowIndex(start[seen], episode[seen], index.bounds), lags[seen]
