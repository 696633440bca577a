"""Pictures of mazes, what they draw, and where their plans come from."""

import matplotlib.colors
import matplotlib.figure
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from ractd_jax.reports import maze_cells
from ractd_jax.reports.maze_pictures import (
    DrawnPlan,
    draw_denoising,
    draw_plans,
)
from ractd_jax.tasks.maze_map import MazeMap

WALLS = ["#####", "#..##", "##..#", "#...#", "#####"]
MAZE = MazeMap(np.array([[c == "#" for c in row] for row in WALLS]), "corner")
START, GOAL = np.array([-1.0, 1.0]), np.array([1.0, -1.0])


def line(*corners, count=40):
    """[count, 4] positions at even times along straight lines, and no velocity."""
    at = np.linspace(0, len(corners) - 1, count)
    corners = np.array(corners, float)
    columns = [np.interp(at, np.arange(len(corners)), c) for c in corners.T]
    return np.stack([*columns, 0 * at, 0 * at], axis=1)


FREE = line(START, (0, 1), (0, 0), (1, 0), GOAL)
THROUGH = line(START, GOAL, count=40) * [1, 1, 0, 0] + [0, -0.4, 0, 0]


@pytest.fixture
def saved(monkeypatch):
    """The figures that were saved, in order."""
    figures = []
    save = matplotlib.figure.Figure.savefig

    def savefig(self, *args, **options):
        figures.append(self)
        return save(self, *args, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)
    return figures


def texts(axis):
    return [text.get_text() for text in axis.texts]


def colour_of(axis, content):
    (found,) = [text for text in axis.texts if text.get_text() == content]
    return found.get_color()


def check_png(path, width, height):
    """A PNG of about that many pixels, with something on white."""
    assert path.stat().st_size < 400_000
    with Image.open(path) as image:
        assert image.format == "PNG"
        np.testing.assert_allclose(image.size, (width, height), rtol=0.1)
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels[0] == 255).all() and len(
        np.unique(pixels.reshape(-1, 3), axis=0)
    ) > 9


def dots(axis):
    """Offsets of the planned states, which are the last collection."""
    return np.asarray(axis.collections[-1].get_offsets())


def test_plans_are_drawn_in_a_grid(tmp_path, saved):
    passed = np.concatenate([FREE, np.full((5, 4), np.nan)])
    rows = {
        "data": [
            DrawnPlan(FREE, None, GOAL, "39 steps"),
            DrawnPlan(None, None, GOAL, "-"),
        ],
        "one": [DrawnPlan(THROUGH, passed, GOAL, "return 7")] * 2,
        "two": [DrawnPlan(FREE, passed, GOAL, "return 9")] * 2,
    }  # fmt: skip
    draw_plans(tmp_path / "plans.png", MAZE, rows)
    check_png(tmp_path / "plans.png", 160 * 7.4, 160 * 5.8)
    (figure,) = saved
    assert len(figure.axes) == 6
    assert [axis.get_title() for axis in figure.axes] == [
        "data",
        "",
        "one",
        "",
        "two",
        "",
    ]
    first, empty, crossing, _, fine, _ = figure.axes
    assert texts(first) == ["39 steps"] and texts(empty) == ["-"]
    assert texts(crossing) == ["return 7", "crosses a wall"]
    assert colour_of(crossing, "crosses a wall") == maze_cells.RED
    assert texts(fine) == ["return 9"]
    np.testing.assert_allclose(dots(fine), FREE[:, :2])
    # The path without its NaN, then the start and the goal; an empty cell has both.
    assert [len(drawn.get_xdata()) for drawn in fine.lines] == [40, 1, 1]
    ends = [np.ravel(drawn.get_xydata()) for drawn in empty.lines]
    np.testing.assert_allclose(ends, [START, GOAL])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(legend) == 5 and legend[:2] == [
        "planned states, first to last",
        "in a wall",
    ]


def test_states_in_walls_stand_on_red(tmp_path, saved):
    draw_plans(tmp_path / "p.png", MAZE, {"x": [DrawnPlan(THROUGH, None, GOAL, "")]})
    halo, states = saved[0].axes[0].collections
    assert matplotlib.colors.to_hex(halo.get_facecolor()[0]) == maze_cells.RED
    assert len(halo.get_offsets()) == MAZE.is_wall(THROUGH[:, :2]).sum() > 0
    colours = states.get_facecolor()
    assert len(colours) == len(THROUGH) and (np.diff(colours[:, 1]) >= 0).all()


def test_the_walls_and_the_goal_are_where_the_maze_has_them(tmp_path, saved):
    cell = DrawnPlan(FREE, FREE, GOAL, "")
    draw_plans(tmp_path / "p.png", MAZE, {"x": [cell]}, goal_radius=0.3)
    (axis,) = saved[0].axes
    (image,) = axis.images
    np.testing.assert_array_equal(image.get_array(), MAZE.walls)
    assert tuple(image.get_extent()) == MAZE.extent
    assert axis.get_xlim() == (-2.0, 2.0) and axis.get_ylim() == (-2.0, 2.0)
    (circle,) = axis.patches
    assert tuple(circle.center) == tuple(GOAL) and circle.radius == 0.3
    box = axis.get_window_extent()
    assert box.width == pytest.approx(box.height)
    assert not axis.axison


def test_every_text_and_mark_has_room(tmp_path, saved):
    """No caption reaches into its neighbour, and nothing leaves the page."""
    cell = DrawnPlan(THROUGH, FREE, GOAL, "reached after 123 steps")
    for count in (1, 2, 5, 7):
        columns = {f"planner {i}": [cell] * 2 for i in range(count)}
        draw_plans(tmp_path / "p.png", MAZE, columns)
        figure = saved[-1]
        # Saved at another resolution, its texts remember sizes of that one.
        FigureCanvasAgg(figure).draw()
        page = figure.bbox
        for axis in figure.axes:
            boxes = [text.get_window_extent() for text in axis.texts]
            assert not boxes[0].overlaps(boxes[1])
            assert all(box.y0 >= page.y0 and box.y1 <= page.y1 for box in boxes)
        legend = figure.legends[0].get_window_extent()
        assert legend.x0 >= page.x0 and legend.x1 <= page.x1 and legend.y0 >= page.y0
        lowest = min(t.get_window_extent().y0 for a in figure.axes for t in a.texts)
        assert legend.y1 <= lowest + 1.0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "columns of one length"),
        ({"a": []}, "'a': 0"),
        ({"a": [DrawnPlan(FREE, None, GOAL, "")], "b": []}, "'a': 1, 'b': 0"),
        ({"a": [DrawnPlan(FREE[0], None, GOAL, "")]}, r"^a: expected.*\[\[4\]\]"),
        ({"a": [DrawnPlan(None, FREE[:, :1], GOAL, "")]}, r"\[\[40, 1\]\]"),
        ({"a": [DrawnPlan(FREE[:0], None, GOAL, "")]}, r"\[\[0, 4\]\]"),
        ({"a": [DrawnPlan(FREE, None, GOAL[:1], "")]}, r"and \[1\]"),
    ],
)
def test_bad_cells_are_refused(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        draw_plans(tmp_path / "p.png", MAZE, rows)
    assert not list(tmp_path.iterdir())


def test_a_denoising_strip(tmp_path, saved):
    levels = np.array([80.0, 1.5, 0.002])
    noise = np.random.default_rng(0).standard_normal(FREE.shape)
    states = np.stack([FREE + 2 * level * noise for level in levels])
    path = tmp_path / "strip.png"
    draw_denoising(path, MAZE, states, levels, FREE, GOAL, "many steps", "one jump")
    check_png(path, 160 * 9.0, 160 * 2.2)
    (figure,) = saved
    titles = [axis.get_title() for axis in figure.axes]
    assert [title.split("= ")[1] for title in titles] == ["80", "1.5", "0.002"] + [
        "80", "0.002"]  # fmt: skip
    assert [text.get_text() for text in figure.texts] == ["many steps", "one jump"]
    cloud, middle, plan, again, jumped = (dots(axis) for axis in figure.axes)
    np.testing.assert_array_equal(cloud, again)
    # The noise was of 2 m for each unit of sigma: of 2 sigma_data, it fills the maze.
    assert cloud.std() == pytest.approx(1.0, abs=0.2)
    np.testing.assert_allclose(
        middle, states[1, :, :2] * 0.5 / np.sqrt(1.5**2 + 0.5**2), rtol=1e-6
    )
    np.testing.assert_allclose(plan, states[-1, :, :2], rtol=1e-4)
    np.testing.assert_allclose(jumped, FREE[:, :2])


@pytest.mark.parametrize(
    ("states", "levels", "plan", "goal", "message"),
    [
        (FREE, [1.0], FREE, GOAL, r"found \[40, 4\] and \[1\]"),
        (FREE[None], [1.0], FREE, GOAL, "K at least 2"),
        (FREE[None].repeat(3, 0), [1.0, 0.5], FREE, GOAL, r"\[3, 40, 4\] and \[2\]"),
        (FREE[None].repeat(2, 0), [1.0, 0.5], FREE[:5], GOAL, r"found \[5, 4\]"),
        (FREE[None].repeat(2, 0), [1.0, 0.5], FREE, GOAL[0], r"and \[\]"),
    ],
)
def test_a_bad_strip_is_refused(tmp_path, states, levels, plan, goal, message):
    with pytest.raises(ValueError, match=message):
        draw_denoising(tmp_path / "p.png", MAZE, states, levels, plan, goal, "", "")
