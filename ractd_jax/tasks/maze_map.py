"""Mazes: PointMaze's specs, the walls that all mazes share, shortest paths in them."""

from __future__ import annotations

import collections
import contextlib
import io
from collections.abc import Mapping
from typing import NamedTuple

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import ArrayLike

from ractd_jax.errors import ConfigError
from ractd_jax.tasks.point_maze import MAZES

_WALL = 1
_POINTS_PER_STEP = 4


def _pair(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two columns of an array [..., 2]."""
    array = np.asarray(array)
    return array[..., 0], array[..., 1]


class MazeMap(NamedTuple):
    """Square cells in the plane, walls or free.

    A cell is (row, column). By default cells are 1 m wide around the origin, and row 0
    is at the top, where y is largest. Metres are the environment's unit of length.

    Attributes:
      walls: [rows, columns] bool; True all along the border.
      name: what errors call it.
      scale: metres along x from column to column, and along y from row to row.
      origin: (row, column) of the cell whose centre is the plane's origin, in parts of
        cells where it lies between them; None for the maze's middle.
    """

    walls: np.ndarray
    name: str = ""
    scale: tuple[float, float] = (1.0, -1.0)
    origin: tuple[float, float] | None = None

    @property
    def free_cells(self) -> np.ndarray:
        """[F, 2] cells that are no walls, row by row."""
        return np.argwhere(~self.walls)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) in metres."""
        rows, columns = self.walls.shape
        row, column = self._origin_from_corner
        x = np.multiply(self.scale[0], (-column, columns - column)).tolist()
        y = np.multiply(self.scale[1], (-row, rows - row)).tolist()
        return min(x), max(x), min(y), max(y)

    def cell_to_xy(self, cells: np.ndarray) -> np.ndarray:
        """[..., 2] centres (x, y) of `cells` [..., 2]."""
        row, column = _pair(cells)
        down, right = self._origin_from_corner
        x, y = column + 0.5 - right, row + 0.5 - down
        return np.stack([x * self.scale[0], y * self.scale[1]], axis=-1)

    def xy_to_cell(self, xy: np.ndarray) -> np.ndarray:
        """[..., 2] int cells that the positions `xy` [..., 2] lie in."""
        x, y = _pair(xy)
        down, right = self._origin_from_corner
        cells = [down + y / self.scale[1], right + x / self.scale[0]]
        return np.floor(np.stack(cells, axis=-1)).astype(int)

    def is_wall(self, xy: np.ndarray) -> np.ndarray:
        """[...] bool, whether positions [..., 2] lie in a wall or outside the maze."""
        # Outside is what the nearest cell of the border is.
        cells = np.clip(self.xy_to_cell(xy), 0, np.array(self.walls.shape) - 1)
        return self.walls[_pair(cells)]

    @property
    def _origin_from_corner(self) -> tuple[float, float]:
        """Rows and columns from the first cell's outer corner to the origin."""
        rows, columns = self.walls.shape
        if self.origin is None:
            return rows / 2, columns / 2
        return self.origin[0] + 0.5, self.origin[1] + 0.5


def evaluation_spec(name: str) -> EnvSpec:
    """The environment as registered: the goal stays, and every step at it is paid.

    Args:
      name: one of :data:`MAZES`.

    Raises:
      ConfigError: an unknown maze, or gymnasium-robotics is not installed.
    """
    if name not in MAZES:
        raise ConfigError(f"maze: expected one of {list(MAZES)}, found {name!r}")
    try:
        # Its import prints a notice about environments that are not used here.
        with contextlib.redirect_stderr(io.StringIO()):
            import gymnasium_robotics
    except ImportError as error:
        raise ConfigError(
            "maze: expected gymnasium-robotics (pip install ractd_jax[maze]), found "
            f"{type(error).__name__}: {error}"
        ) from None
    gymnasium.register_envs(gymnasium_robotics)
    return gymnasium.spec(MAZES[name])


def maze_map(name: str) -> MazeMap:
    """The walls of a maze, read from the environment.

    Raises:
      ConfigError: see :func:`evaluation_spec`.
    """
    cells = evaluation_spec(name).kwargs["maze_map"]
    return MazeMap(np.array([[cell == _WALL for cell in row] for row in cells]), name)


def register_mazes(
    ids: Mapping[str, str], entry_point: str, time_limits: Mapping[str, int]
) -> None:
    """Makes ids known to Gymnasium, unless they are.

    Args:
      ids: maze -> id.
      entry_point: ``module:Class`` of the environment, which takes ``maze``.
      time_limits: maze -> steps.
    """
    for name, environment_id in ids.items():
        if environment_id not in gymnasium.registry:
            gymnasium.register(
                environment_id,
                entry_point=entry_point,
                kwargs={"maze": name},
                max_episode_steps=time_limits[name],
            )


def is_within(positions: np.ndarray, goal: np.ndarray, radius: float) -> np.ndarray:
    """[...] bool, whether `positions` [..., 2] lie within `radius` of `goal` [2]."""
    return np.linalg.norm(np.asarray(positions) - goal, axis=-1) <= radius


def crosses_wall(maze: MazeMap, plans: np.ndarray) -> np.ndarray:
    """[P] bool, whether the way along positions [P, H, 2 or more] enters a wall.

    Looks at 4 points between each two planned positions.
    """
    positions = plans[..., :2]
    shares = np.arange(_POINTS_PER_STEP) / _POINTS_PER_STEP
    steps = np.diff(positions, axis=1)[:, :, None] * shares[:, None]
    points = positions[:, :-1, None] + steps
    inside = maze.is_wall(points).any(axis=(1, 2))
    return inside | maze.is_wall(positions[:, -1])


def check_free(maze: MazeMap, xy: ArrayLike, name: str) -> np.ndarray:
    """A copy of `xy` as float64 [2], if a ball's centre can lie at it.

    A ball that is nearer to a wall than its radius is pushed out of it.

    Args:
      maze: where.
      xy: position (x, y) in metres.
      name: what the error calls the position.

    Raises:
      ConfigError: no position, outside the maze, or in a wall.
    """
    try:
        position = np.array(xy, np.float64)
    except (TypeError, ValueError):
        position = np.empty(0)
    left, right, bottom, top = maze.extent
    found = str(xy)
    if position.shape != (2,) or not np.isfinite(position).all():
        found += ", no position"
    else:
        x, y = position.tolist()
        if left < x < right and bottom < y < top:
            if not maze.is_wall(position):
                return position
            found = f"({x}, {y}), in a wall"
        else:
            found = f"({x}, {y}), outside the maze"
    raise ConfigError(
        f"{name}: expected a free position of maze {maze.name} (x in {left:g}.."
        f"{right:g}, y in {bottom:g}..{top:g}), found {found}"
    )


def shortest_path(
    maze: MazeMap, start: tuple[int, int], goal: tuple[int, int]
) -> list[tuple[int, int]]:
    """Free cells from `start` to `goal`, both included, each beside the one before.

    Among several shortest paths, the result is always the same one.

    Raises:
      ValueError: there is none.
    """
    after = {goal: goal}
    queue = collections.deque([goal])
    while queue and start not in after:
        row, column = cell = queue.popleft()
        for beside in (
            (row - 1, column),
            (row, column - 1),
            (row, column + 1),
            (row + 1, column),
        ):
            if beside not in after and not maze.walls[beside]:
                after[beside] = cell
                queue.append(beside)
    if start not in after or maze.walls[start] or maze.walls[goal]:
        raise ValueError(f"no path from cell {start} to cell {goal}")
    path = [start]
    while path[-1] != goal:
        path.append(after[path[-1]])
    return path
