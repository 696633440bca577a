"""Combinations of where a way begins, passes and ends that are kept out of training.

A maze's regions are blocks of 2 x 2 cells. A way's elements are the regions of its
start, of its middle (in time) and of its goal. Some pairs of a start and a goal are
held out, and some triples of the other pairs, by a hash that does not depend on the
machine: each region is seen in each place, but never these together.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ractd_jax.data.episodes import Episodes
from ractd_jax.data.windows import WindowIndex
from ractd_jax.errors import ConfigError

if TYPE_CHECKING:
    from ractd_jax.tasks.maze_map import MazeMap

_BLOCK = 2  # cells
_DRAWS = 2  # rows for each window


class HeldOut(NamedTuple):
    """What no window of a training does.

    Attributes:
      pairs: [R, R] bool, (start, goal).
      triples: [R, R, R] bool, (start, middle, goal) of the other pairs.
    """

    pairs: np.ndarray
    triples: np.ndarray

    def holds(self, start, middle, goal) -> np.ndarray:
        """[...] bool, whether ways through these regions [...] are held out."""
        return self.pairs[start, goal] | self.triples[start, middle, goal]


def regions_of(maze: MazeMap, positions: np.ndarray) -> np.ndarray:
    """[...] int32 regions that `positions` [..., 2] lie in, in metres."""
    rows, columns = maze.walls.shape
    cells = np.clip(maze.xy_to_cell(positions), 0, (rows - 1, columns - 1))
    blocks = cells // _BLOCK
    across = -(-columns // _BLOCK)
    return (blocks[..., 0] * across + blocks[..., 1]).astype(np.int32)


def held_out(maze: MazeMap, every: int) -> HeldOut:
    """One in `every` pairs and one in `every` triples of a maze's regions.

    A region keeps at least one other as a goal and one as a start, and itself.

    Args:
      maze: its walls.
      every: at least 2.

    Raises:
      ConfigError: fewer.
    """
    if every < 2:
        raise ConfigError(
            f"config.dataset.held_out_combinations: expected 0 or at least 2, found "
            f"{every}"
        )
    free = np.unique(regions_of(maze, maze.cell_to_xy(maze.free_cells)))

    def chosen(*regions: int) -> bool:
        text = " ".join(map(str, (maze.name, *regions)))
        return zlib.crc32(text.encode()) % every == 0

    size = int(free.max()) + 1
    pairs, triples = np.zeros((size,) * 2, bool), np.zeros((size,) * 3, bool)
    for start in free:
        for goal in free[free != start]:
            pairs[start, goal] = chosen(start, goal)
    for start in free:
        others = free[free != start]
        if pairs[start, others].all():
            pairs[start, others[0]] = False
        if pairs[others, start].all():
            pairs[others[0], start] = False
    for start in free:
        for goal in free[~pairs[start, free]]:
            for middle in free[(free != start) & (free != goal)]:
                triples[start, middle, goal] = chosen(start, middle, goal)
    return HeldOut(pairs, triples)


def seen_rows(
    index: WindowIndex,
    episodes: Episodes,
    maze: MazeMap,
    every: int,
    horizon: int,
    stride: int,
    seed: int = 0,
) -> tuple[WindowIndex, np.ndarray]:
    """Windows with a lag each, none of which makes a way that is held out.

    Args:
      index: windows to draw from, twice each.
      episodes: what they lie in; observations begin with x and y.
      maze: its walls.
      every: of :func:`held_out`.
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
    # The state that a plan's middle waypoint would be.
    middle = start + stride * ((arrival - start) // stride // 2)
    held = held_out(maze, every)
    seen = ~held.holds(regions[start], regions[middle], regions[arrival])
    return WindowIndex(start[seen], episode[seen], index.bounds), lags[seen]
