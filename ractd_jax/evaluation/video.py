"""Films of episodes: what a policy did, played again before a camera."""

from __future__ import annotations

import contextlib
import ctypes.util
import dataclasses
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
from absl import logging
from gymnasium.envs.registration import EnvSpec

from ractd_jax.errors import ConfigError
from ractd_jax.files import completed
from ractd_jax.settings import Environment
from ractd_jax.tasks import task_of
from ractd_jax.tasks.environments import make_environment, registered_spec

_OFFSCREEN = {"egl": "EGL", "osmesa": "OSMesa"}
_USUAL_RATE = 30
# Frames a second of a film, at most; most of its cost is to draw them. A GIF has no
# compression over time: fewer and smaller frames.
_RATES = {".mp4": 30, ".gif": 15}
_GIF_SIDE = 240


class Film:
    """The actions, and planned states, of the first episodes of an evaluation.

    Args:
      count: N, episodes to keep.
    """

    def __init__(self, count: int):
        self.actions: list[list[np.ndarray]] = [[] for _ in range(count)]
        self.plans: list[list[np.ndarray]] = [[] for _ in range(count)]

    def see(
        self, actions: np.ndarray, episodes: np.ndarray, plans: np.ndarray | None
    ) -> None:
        """Keeps one step.

        Args:
          actions: [n, A] of the episodes that still run.
          episodes: [n] their numbers.
          plans: [n, H, O] what they follow; None for plans of actions.
        """
        for row in np.flatnonzero(episodes < len(self.actions)):
            self.actions[episodes[row]].append(np.array(actions[row]))
            if plans is not None:
                self.plans[episodes[row]].append(np.array(plans[row]))


def choose_renderer() -> None:
    """Sets MUJOCO_GL to what renders without a screen, where none is there.

    Before MuJoCo is imported; a choice of the user's stays.
    """
    if any(os.environ.get(name) for name in ("MUJOCO_GL", "DISPLAY")):
        return
    for name, library in _OFFSCREEN.items():
        if ctypes.util.find_library(library):
            os.environ["MUJOCO_GL"] = name
            return


def video_suffix() -> str:
    """``.mp4`` where imageio-ffmpeg is installed, else ``.gif``."""
    return ".mp4" if importlib.util.find_spec("imageio_ffmpeg") else ".gif"


def rendering(environment: Environment) -> Environment:
    """`environment`, made so that it renders frames.

    Raises:
      ConfigError: Gymnasium does not know it.
    """
    spec = EnvSpec.from_json(environment.spec) if environment.spec else None
    spec = spec or registered_spec(environment.id)
    if spec is None:
        try:
            spec = gymnasium.spec(environment.id)
        except Exception as error:  # importing a module raises what it likes
            raise ConfigError(f"config.environment.id: {error}") from None
    spec = dataclasses.replace(spec, kwargs={**spec.kwargs, "render_mode": "rgb_array"})
    return dataclasses.replace(environment, spec=spec.to_json())


@contextlib.contextmanager
def camera(environment: Environment) -> Iterator[gymnasium.Env]:
    """`environment`, made to render, with a camera that follows a runner.

    Raises:
      ConfigError: it cannot be made.
    """
    with contextlib.closing(make_environment(rendering(environment))) as env:
        renderer = getattr(env.unwrapped, "mujoco_renderer", None)
        if getattr(renderer, "camera_id", None) == -1:
            # Gymnasium 1.4 takes a free camera, which stays behind, although its
            # runners' models have one that follows them.
            model = renderer.model
            names = [model.camera(i).name for i in range(model.ncam)]
            if "track" in names:
                renderer.camera_id = names.index("track")
        yield env


def frames(
    env: gymnasium.Env,
    environment: Environment,
    film: Film,
    episode: int,
    seed: int,
    every: int = 1,
) -> Iterator[np.ndarray]:
    """[h, w, 3] uint8 of an episode that is played again, its first and last state
    included, and `every` n-th in between.
    """
    task, plans = task_of(environment.id), film.plans[episode]
    env.reset(seed=seed)
    for step, action in enumerate(film.actions[episode]):
        if step % every == 0:
            if plans:
                task.mark(env, task.position(plans[step]))
            yield env.render()
        env.step(action)
    yield env.render()


def write_videos(
    film: Film, environment: Environment, seeds: np.ndarray, path: Path
) -> list[Path]:
    """One file for each episode of a film; a file appears only when complete.

    Args:
      film: of an evaluation.
      environment: it was in.
      seeds: [E] of its episodes' resets.
      path: of the files, without their ending.

    Returns:
      ``PATH_episodeE.mp4``, or ``.gif`` where imageio-ffmpeg is not installed.

    Raises:
      ConfigError: the environment does not render, or nothing here renders it.
    """
    written, suffix = [], video_suffix()
    with camera(environment) as env:
        rate = env.metadata.get("render_fps", _USUAL_RATE)
        every = max(1, round(rate / _RATES[suffix]))
        for episode in range(len(film.actions)):
            seed = int(seeds[episode])
            shots = frames(env, environment, film, episode, seed, every)
            name = path.parent / f"{path.name}_episode{episode}{suffix}"
            _write(name, _checked(shots, environment.id), rate / every)
            written.append(name)
    logging.info("videos: %s", ", ".join(map(str, written)))
    return written


def _checked(shots: Iterator, environment_id: str) -> Iterator[np.ndarray]:
    """The frames; raises ConfigError in place of what a renderer raises."""
    while True:
        try:
            shot = next(shots)
            if np.ndim(shot) != 3 or np.shape(shot)[2] != 3:
                raise TypeError(f"found no picture but {type(shot).__name__}")
        except StopIteration:
            return
        except Exception as error:  # OpenGL's libraries raise their own
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(
                f"--video: expected {environment_id} to render (render_mode "
                "'rgb_array'; MuJoCo needs MUJOCO_GL=egl or osmesa and Debian's "
                f"libegl1 or libosmesa6 without a screen), found {reason}"
            ) from None
        yield np.asarray(shot, np.uint8)


def _write(path: Path, shots: Iterator[np.ndarray], rate: float) -> None:
    import imageio.v2 as imageio

    if path.suffix == ".gif":
        shots = map(_small, shots)
        options = {"duration": 1e3 / rate, "loop": 0}
    else:
        options = {"fps": rate, "macro_block_size": 2}
    with completed(path) as temporary:
        with imageio.get_writer(temporary, **options) as writer:
            for shot in shots:
                writer.append_data(shot)


def _small(shot: np.ndarray) -> np.ndarray:
    step = max(1, min(shot.shape[:2]) // _GIF_SIDE)
    return shot[::step, ::step]
