"""Films of episodes: their frames, their files, and what cannot be filmed."""

import ctypes.util

import gymnasium
import imageio.v3 as imageio
import numpy as np
import pytest

from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation import video
from ractd_jax.evaluation.rollout import run_episodes
from ractd_jax.settings import Environment
from ractd_jax.tasks.environments import make_environment
from ractd_jax.tasks.maze2d import register_maze2d

CRANE = Environment("tests/FilmedCrane-v0")
DIMS = Dimensions(observation=3, action=2, horizon=1, history=1)
SEEDS = np.arange(3)
gymnasium.register(
    CRANE.id,
    "tests.odd_environments:Crane",
    max_episode_steps=6,
    kwargs={"falls_at": 2.0},
)


class Nudging:
    """Pushes by what it sees."""

    compile_seconds = 0.0

    def act(self, observations, episodes, step):
        return np.clip(observations[:, -1, :2], -1.0, 1.0)


@pytest.fixture(scope="module")
def filmed():
    """(film of two of three episodes, their results)."""
    film = video.Film(2)
    found = run_episodes(
        Nudging(),
        DIMS,
        CRANE,
        SEEDS,
        on_actions=lambda *seen: film.see(*seen, None),
    )
    return film, found


def test_a_film_is_the_episode_itself(filmed):
    film, found = filmed
    env = make_environment(video.rendering(CRANE))
    for episode in (0, 1):
        shots = list(video.frames(env, CRANE, film, episode, int(SEEDS[episode])))
        assert len(shots) == found.lengths[episode] + 1
        assert [int(shot[0, :, 0].sum() // 255) for shot in shots] == [
            4 * step for step in range(len(shots))
        ]


def test_a_film_may_leave_frames_out(filmed):
    """Its first and its last are shown, and the steps between are played."""
    film, found = filmed
    env = make_environment(video.rendering(CRANE))
    whole = list(video.frames(env, CRANE, film, 0, 0))
    some = list(video.frames(env, CRANE, film, 0, 0, every=4))
    kept = [*range(0, int(found.lengths[0]), 4), -1]
    np.testing.assert_array_equal(some, [whole[step] for step in kept])


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_files_hold_the_frames(filmed, tmp_path, monkeypatch, suffix):
    if suffix == ".mp4":
        pytest.importorskip("imageio_ffmpeg", reason="MP4 needs imageio-ffmpeg")
    monkeypatch.setattr(video, "video_suffix", lambda: suffix)
    written = video.write_videos(*filmed[:1], CRANE, SEEDS, tmp_path / "scores")
    assert [path.name for path in written] == [
        f"scores_episode{episode}{suffix}" for episode in (0, 1)
    ]
    shots = imageio.imread(written[0])
    assert len(shots) == filmed[1].lengths[0] + 1
    assert shots[-1].mean() > shots[0].mean() + 50
    assert sorted(tmp_path.iterdir()) == written


def test_an_environment_without_pictures_is_an_error(filmed, tmp_path, monkeypatch):
    """In one line, and no file is left."""
    monkeypatch.setattr("tests.odd_environments.Crane.render", lambda self: None)
    message = r"--video: expected tests/FilmedCrane-v0 to render .*found no picture"
    with pytest.raises(ConfigError, match=message):
        video.write_videos(filmed[0], CRANE, SEEDS, tmp_path / "scores")
    assert not list(tmp_path.iterdir())


def test_a_renderer_is_chosen_where_no_screen_is(monkeypatch):
    for name in ("MUJOCO_GL", "DISPLAY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(ctypes.util, "find_library", {"OSMesa": "it"}.get)
    video.choose_renderer()
    assert video.os.environ["MUJOCO_GL"] == "osmesa"
    monkeypatch.setattr(ctypes.util, "find_library", {"EGL": "it"}.get)
    video.choose_renderer()
    assert video.os.environ["MUJOCO_GL"] == "osmesa"  # a choice stays


@pytest.mark.slow
def test_a_mazes_film_shows_the_plan(monkeypatch):
    """Its balls change the picture where the plan lies."""
    if not any(map(ctypes.util.find_library, ("EGL", "OSMesa"))):
        pytest.skip("no library that renders without a screen (libegl1, libosmesa6)")
    video.choose_renderer()
    register_maze2d()
    maze = Environment("ractd/Maze2d-UMaze-v0")
    film, plain = video.Film(1), video.Film(1)
    plan = np.zeros((1, 4, 4), np.float32)
    plan[0, :, :2] = [[-1.0, -1.0], [-0.5, -1.0], [0.0, -1.0], [0.5, -1.0]]
    film.see(np.zeros((1, 2)), np.zeros(1, int), plan)
    plain.see(np.zeros((1, 2)), np.zeros(1, int), None)
    env = make_environment(video.rendering(maze))
    first = [next(video.frames(env, maze, each, 0, 3)) for each in (film, plain)]
    env.close()
    changed = (np.abs(first[0].astype(int) - first[1]) > 30).any(axis=-1)
    assert 50 < changed.sum() < changed.size / 4
