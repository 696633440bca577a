"""Films of planners side by side, the states that they show, and their camera."""

import ctypes.util

import gymnasium
import numpy as np
import pytest
from PIL import Image

from ractd_jax.errors import ConfigError
from ractd_jax.evaluation import side_by_side, video
from ractd_jax.evaluation.side_by_side import Panel
from ractd_jax.settings import Environment
from ractd_jax.tasks import task_of
from ractd_jax.tasks.maze2d import register_maze2d
from tests.conftest import run_main
from tests.test_video import CRANE
from tests.toys import toy_dataset

RENDERS = any(map(ctypes.util.find_library, ("EGL", "OSMesa")))
needs_renderer = pytest.mark.skipif(
    not RENDERS, reason="no library that renders without a screen (libegl1, libosmesa6)"
)


@pytest.mark.parametrize("name", ["Hopper-v5", "Walker2d-v5", "HalfCheetah-v5"])
def test_a_runner_is_shown_where_its_observation_has_it(name):
    env, other = gymnasium.make(name), gymnasium.make(name)
    env.reset(seed=0)
    other.reset(seed=1)
    for _ in range(3):
        observation, *_ = env.step(np.zeros(env.action_space.shape))
    before = env.unwrapped.data.qpos[0]
    place = task_of(name).show(other, observation, before)
    np.testing.assert_allclose(
        other.unwrapped.data.qpos, env.unwrapped.data.qpos, atol=1e-12
    )
    np.testing.assert_allclose(
        other.unwrapped.data.qvel, env.unwrapped.data.qvel, atol=1e-12
    )
    env.step(np.zeros(env.action_space.shape))
    assert place == pytest.approx(env.unwrapped.data.qpos[0], abs=0.02)


def test_a_ball_is_shown_where_its_state_has_it():
    register_maze2d()
    env = gymnasium.make("ractd/Maze2d-UMaze-v0")
    env.reset(seed=0)
    state = np.array([-1.0, 0.9, 0.3, -0.2], np.float32)
    assert task_of("ractd/Maze2d-UMaze-v0").show(env, state, 0.0) == 0.0
    data = env.unwrapped.point_env.data
    np.testing.assert_allclose([*data.qpos, *data.qvel], state)


def panels():
    """Two of 3 and 5 shots, brighter from shot to shot."""
    made = []
    for label, length in (("short", 3), ("long", 5)):
        shots = np.zeros((length, 20, 40, 3), np.uint8)
        shots[..., 0] = 50 * np.arange(length)[:, None, None]
        made.append(Panel(label, shots, np.arange(length) * 10.0))
    return made


def test_the_film_lasts_as_long_as_its_longest_panel(tmp_path):
    path = tmp_path / "film.gif"
    side_by_side.write_film(panels(), path, rate=10.0, width=40)
    film = Image.open(path)
    assert film.n_frames == 5 and film.size[0] == 80 and film.info["duration"] == 100
    film.seek(4)
    pixels = np.asarray(film.convert("RGB"))
    over, running = pixels[-10, 20].astype(int), pixels[-10, 60].astype(int)
    assert np.ptp(over) < 10, "an episode that is over is grey"
    assert running[0] > 150 and running[1:].max() < 50
    assert [file.name for file in tmp_path.iterdir()] == ["film.gif"]


def test_data_of_an_unknown_state_is_an_error():
    episodes = toy_dataset().episodes
    with pytest.raises(ConfigError, match="--data: expected an environment whose obs"):
        side_by_side.panel_of_data(episodes, "data", CRANE, every=1, limit=4)


@needs_renderer
@pytest.mark.slow
def test_the_camera_follows_a_runner():
    """Gymnasium's own stays where the episode began."""
    video.choose_renderer()
    environment = Environment("Hopper-v5")
    with video.camera(environment) as env:
        observation, _ = env.reset(seed=0)
        near = env.render()
        task_of(environment.id).show(env, observation, 20.0)
        far = env.render()
    # The floor's squares differ, the robot is where it was.
    middle = (slice(150, 400), slice(230, 250))
    shots = near[middle].astype(int), far[middle].astype(int)
    wood = [(shot[..., 0] > shot[..., 2] + 40).sum() for shot in shots]
    assert wood[0] > 200 and abs(wood[1] - wood[0]) < 0.2 * wood[0]


@needs_renderer
@pytest.mark.slow
def test_the_main_films_data_and_planners(smoke_run, tmp_path):
    path = tmp_path / "film.gif"
    planners = f"{smoke_run}/teacher,{smoke_run}/ractd"
    flags = ("--data", "--frames=4", "--every=2", "--width=64", f"--output={path}")
    done = run_main("film", f"--planners={planners}", *flags)
    assert str(path) in done.stdout
    film = Image.open(path)
    assert film.size[0] == 3 * 64 and 2 <= film.n_frames <= 5


def test_labels_are_as_many_as_planners(smoke_run, tmp_path):
    flags = (
        f"--planners={smoke_run}/ractd",
        "--labels=a,b",
        f"--output={tmp_path}/f.gif",
    )
    done = run_main("film", *flags, check=False)
    assert done.returncode and "--labels: expected one for each of 1 planners" in (
        done.stderr
    )
