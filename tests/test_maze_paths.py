"""The picture of an evaluation in a maze: paths, and the plans they began with."""

import matplotlib.colors
import matplotlib.figure
import numpy as np
import pytest

from ractd_jax.evaluation.results import EpisodeResults, StateResults
from ractd_jax.reports import maze_cells
from ractd_jax.reports.maze_paths import draw_paths
from ractd_jax.tasks.maze_map import MazeMap

MAZE = MazeMap(np.array([[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]], bool), "corridor")


def results_of(reached, goal_size):
    """Straight paths of 9 states, the end of odd ones cut off; plans of 5 states."""
    count = len(reached)
    path = np.linspace([-0.4, 0.0, 1.0], [0.4, 0.0, 1.0], 9, dtype=np.float32)
    paths = np.stack([path + [0, 0.01 * i, 0] for i in range(count)])
    paths[1::2, 6:] = np.nan
    numbers = np.arange(count)
    episodes = EpisodeResults(
        np.array(reached, float), numbers + 3, numbers, np.array(reached, float), 1.0
    )
    goals = np.full((count, goal_size), 0.3, np.float32)
    collided = np.zeros(count, bool)
    return StateResults(
        episodes, paths, paths[:, :5], goals, np.array(reached), collided, 0.001
    )


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Draws, and returns the figure that was saved."""
    figures = []
    save = matplotlib.figure.Figure.savefig

    def savefig(self, *args, **options):
        figures.append(self)
        return save(self, *args, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)

    def drawn(results):
        draw_paths(tmp_path / "paths.png", MAZE, results)
        assert (tmp_path / "paths.png").stat().st_size < 400_000
        return figures.pop()

    return drawn


def test_all_paths_and_three_plans(draw):
    found = results_of([True, False, True, True, False], goal_size=0)
    figure = draw(found)
    everything, *episodes = figure.axes
    assert everything.get_title() == "3 of 5 episodes reached the goal"
    lengths = [len(line.get_xdata()) for line in everything.lines]
    assert lengths == [9, 6, 9, 6, 9]  # without the rows after an episode's end
    colours = [matplotlib.colors.to_hex(line.get_color()) for line in everything.lines]
    ink, red = maze_cells.INK, maze_cells.RED
    assert colours == [ink, red, ink, ink, red]
    assert [axis.get_title() for axis in episodes] == [f"episode {i}" for i in range(3)]
    for i, axis in enumerate(episodes):
        offsets = axis.collections[-1].get_offsets()
        np.testing.assert_allclose(offsets, found.first_plans[i, :, :2])
    (caption,) = episodes[1].texts
    assert caption.get_text() == "return 0, 6 steps"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "start" in texts and not any("circle" in text for text in texts)


def test_a_goal_that_the_planner_was_given_is_marked(draw):
    figure = draw(results_of([True], goal_size=2))
    _, episode = figure.axes
    *_, start, goal = episode.lines
    np.testing.assert_allclose(np.ravel(start.get_xydata()), [-0.4, 0.0])
    np.testing.assert_allclose(np.ravel(goal.get_xydata()), [0.3, 0.3])
