"""Starts, goals and waypoints in a maze, of which some were never seen together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ractd_jax.data.combinations import HeldOut, regions_of
from ractd_jax.errors import ConfigError
from ractd_jax.tasks.maze_map import MazeMap, crosses_wall, is_within, shortest_path

# What is asked: ways that windows make, by the shortest path; between pairs of regions
# that none leads between; and between other pairs, by a path round about and through a
# middle that none takes between them.
KINDS = ("seen", "held_out", "detours")
RADIUS = 0.5  # m, at which a waypoint or goal is passed
_NOISE = 0.1  # m, of starts and goals to each side, as maze2d has it
_FEWEST_CELLS = 4  # of a path, so that its waypoints lie apart
_ATTEMPTS = 20_000


class Queries(NamedTuple):
    """Q ways that plans are asked for, in metres.

    Attributes:
      starts: [Q, 2].
      goals: [Q, 2].
      waypoints: [Q, W, 2] that cut the way into W + 1 equal parts.
    """

    starts: np.ndarray
    goals: np.ndarray
    waypoints: np.ndarray


class Validity(NamedTuple):
    """Of Q plans, each bool [Q].

    Attributes:
      free: no wall is crossed.
      passed: every waypoint is passed within 0.5 m.
      arrived: the last state is within 0.5 m of the goal.
    """

    free: np.ndarray
    passed: np.ndarray
    arrived: np.ndarray

    @property
    def valid(self) -> np.ndarray:
        return self.free & self.passed & self.arrived


def validity(maze: MazeMap, queries: Queries, plans: np.ndarray) -> Validity:
    """What is true of `plans` [Q, H, 2 or more], x and y first."""
    positions = plans[..., :2]
    gaps = np.linalg.norm(positions[:, None] - queries.waypoints[:, :, None], axis=-1)
    return Validity(
        ~crosses_wall(maze, plans),
        (gaps.min(axis=2) <= RADIUS).all(axis=1),
        is_within(positions[:, -1], queries.goals, RADIUS),
    )


def draw_queries(
    maze: MazeMap,
    held: HeldOut,
    kind: str,
    count: int,
    longest: float,
    num_waypoints: int,
    seed: int,
) -> Queries:
    """Random queries of one of :data:`KINDS`.

    Args:
      maze: its walls.
      held: of :func:`ractd_jax.data.combinations.held_out`.
      kind: which.
      count: Q.
      longest: metres of the longest way that fits into a plan.
      num_waypoints: W.
      seed: of the draws.

    Raises:
      ConfigError: the maze has too few such ways.
    """
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    cells = [tuple(cell) for cell in maze.free_cells.tolist()]
    ways = _Ways(maze)
    rows = []
    for _ in range(_ATTEMPTS):
        if len(rows) == count:
            break
        start, goal = (cells[i] for i in rng.choice(len(cells), 2, replace=False))
        noise = rng.uniform(-_NOISE, _NOISE, (2, 2))
        path = ways.shortest(start, goal)
        if kind == "detours":
            path = ways.detour(start, goal, longest, num_waypoints, rng)
        if path is None or len(path) < _FEWEST_CELLS or len(path) - 1 > longest:
            continue
        line = maze.cell_to_xy(np.array(path))
        line[0] += noise[0]
        line[-1] += noise[1]
        middle = points_along(line, 1)
        regions = regions_of(maze, np.stack([line[0], *middle, line[-1]]))
        if _kind_of(held, *regions) == kind:
            rows.append((line[0], line[-1], points_along(line, num_waypoints)))
    if len(rows) < count:
        raise ConfigError(
            f"maze {maze.name}: expected {count} ways of kind {kind!r} of up to "
            f"{longest:.1f} m, found {len(rows)} in {_ATTEMPTS} draws"
        )
    return Queries(*map(np.stack, zip(*rows, strict=True)))


def _kind_of(held: HeldOut, start: int, middle: int, goal: int) -> str:
    if held.pairs[start, goal]:
        return "held_out"
    return "detours" if held.triples[start, middle, goal] else "seen"


def points_along(line: np.ndarray, count: int) -> np.ndarray:
    """[count, 2] points that cut a way along `line` [P, 2] into equal parts."""
    lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(lengths)])
    wanted = at[-1] * np.arange(1, count + 1) / (count + 1)
    return np.stack([np.interp(wanted, at, axis) for axis in line.T], axis=1)


class _Ways:
    """Paths over the free cells of a maze."""

    def __init__(self, maze: MazeMap):
        self._maze = maze
        self._cells = [tuple(cell) for cell in maze.free_cells.tolist()]
        self._found: dict = {}

    def shortest(self, start, goal) -> list[tuple[int, int]]:
        if (start, goal) not in self._found:
            self._found[start, goal] = shortest_path(self._maze, start, goal)
        return self._found[start, goal]

    def detour(self, start, goal, longest, num_waypoints, rng):
        """A random path through some cell that leaves every shortest path, or None.

        It passes no cell twice, and one of its waypoints at least is more than a cell
        away from all shortest paths.
        """
        least = len(self.shortest(start, goal)) - 1
        usual = [
            cell
            for cell in self._cells
            if self._steps(start, cell) + self._steps(cell, goal) == least
        ]
        usual = self._maze.cell_to_xy(np.array(usual))
        found = []
        for through in self._cells:
            path = self.shortest(start, through) + self.shortest(through, goal)[1:]
            if len(set(path)) < len(path) or not least < len(path) - 1 <= longest:
                continue
            waypoints = points_along(
                self._maze.cell_to_xy(np.array(path)), num_waypoints
            )
            gaps = np.linalg.norm(waypoints[:, None] - usual, axis=-1)
            if gaps.min(axis=1).max() > 1.0:
                found.append(path)
        return found[rng.integers(len(found))] if found else None

    def _steps(self, start, goal) -> int:
        return len(self.shortest(start, goal)) - 1


def combination_of(maze: MazeMap, queries: Queries) -> list[tuple[int, ...]]:
    """What makes up each query: cells of its start, waypoints and goal, flat."""
    points = np.concatenate(
        [queries.starts[:, None], queries.waypoints, queries.goals[:, None]], axis=1
    )
    cells = maze.xy_to_cell(points).reshape(len(points), -1)
    return [tuple(row) for row in cells.tolist()]


def support(
    maze: MazeMap, queries: Queries, trained: Queries
) -> dict[str, float | list[float]]:
    """How much of what is asked was seen in training.

    Args:
      maze: its walls.
      queries: what is asked.
      trained: what a sample of the training's windows was conditioned on.

    Returns:
      ``slots``: for start, each waypoint and goal, the share of queries whose cell was
      seen in that slot; ``combinations``: the share whose cells were seen together.
    """
    asked, seen = (combination_of(maze, each) for each in (queries, trained))
    slots = []
    for i in range(0, len(asked[0]), 2):
        known = {row[i : i + 2] for row in seen}
        slots.append(float(np.mean([row[i : i + 2] in known for row in asked])))
    together = set(seen)
    share = float(np.mean([row in together for row in asked]))
    return {"slots": slots, "combinations": share}


def labels_of_slots(num_waypoints: int) -> list[str]:
    """Names of the slots of :func:`support`."""
    waypoints = (f"waypoint {number}" for number in range(1, num_waypoints + 1))
    return ["start", *waypoints, "goal"]
