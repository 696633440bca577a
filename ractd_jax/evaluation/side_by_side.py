"""One film of several planners, and of the data, in the same environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import gymnasium
import numpy as np

from ractd_jax.data.episodes import Episodes
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.rollout import evaluate_planner
from ractd_jax.evaluation.state_rollout import evaluate_controlled
from ractd_jax.evaluation.video import Film, camera, frames
from ractd_jax.files import completed
from ractd_jax.policy import Policy
from ractd_jax.settings import Environment
from ractd_jax.tasks import task_of

_COLORS = 128
_SAMPLED = 8  # frames that the palette is made of
_CAPTION = 34  # pixels above a panel
_FONT = 13


class Panel(NamedTuple):
    """What one part of the film shows.

    Attributes:
      label: stands above it.
      shots: [F, h, w, 3] uint8; the last one stays when the episode is over.
      totals: [F] the return so far.
    """

    label: str
    shots: np.ndarray
    totals: np.ndarray


def panel_of_planner(
    planner, label: str, seed: int, environment: Environment, every: int, limit: int
) -> Panel:
    """An episode that a planner or a policy plays.

    Args:
      planner: a planner, of states with a controller that needs no model; or a policy.
      label: of the panel.
      seed: of the episode's reset and noise.
      environment: to play in.
      every: steps between two shots.
      limit: steps that are shown.

    Raises:
      ConfigError: a policy of plans of states, which names no controller.
    """
    film = Film(1)
    if planner.dims.plans_states:
        if isinstance(planner, Policy):
            raise ConfigError(
                "--planners: expected the workdir of a planner of states, found its "
                f"exported file ({label})"
            )
        options = planner.settings.controller
        evaluate_controlled(planner, options, environment, 1, seed, film=film)
    else:
        evaluate_planner(planner, environment, 1, seed, film=film)
    film.actions[0] = film.actions[0][:limit]
    with camera(environment) as env:
        counted = _Counted(env)
        shots = frames(counted, environment, film, 0, seed, every)
        return Panel(label, *_collect(shots, lambda: counted.total))


def panel_of_data(
    episodes: Episodes, label: str, environment: Environment, every: int, limit: int
) -> Panel:
    """The data's episode of median return, shown state by state.

    Raises:
      ConfigError: of an environment whose observations are not its state.
    """
    task = task_of(environment.id)
    order = np.argsort(episodes.returns, kind="stable")
    chosen = order[len(order) // 2]
    first, end = episodes.starts[chosen], episodes.starts[chosen + 1]
    steps = np.arange(first, min(end, first + limit))
    totals = np.cumsum(episodes.rewards[steps])
    with camera(environment) as env:
        env.reset(seed=0)
        shots, place = [], 0.0
        for count, step in enumerate(steps):
            observation = episodes.observations[step]
            moved = task.show(env, observation, place)
            if moved is None:
                raise ConfigError(
                    f"--data: expected an environment whose observation is its state, "
                    f"found {environment.id}"
                )
            if count % every == 0:
                shots.append(env.render())
            place = moved
    return Panel(label, np.array(shots), totals[::every])


def write_film(
    panels: Sequence[Panel], path: str | os.PathLike, rate: float, width: int
) -> None:
    """A GIF of the panels side by side, with one palette for all frames.

    Args:
      panels: shown from left to right; a shorter one stops at its last shot, in grey.
      path: of the GIF; it appears only when complete.
      rate: shots a second.
      width: of a panel, in pixels.
    """
    length = max(len(panel.shots) for panel in panels)
    pictures = [_frame(panels, number, width) for number in range(length)]
    palette = _palette(pictures)
    small = [picture.quantize(palette=palette, dither=0) for picture in pictures]
    with completed(path) as temporary:
        small[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=small[1:],
            duration=round(1e3 / rate),
            loop=0,
            optimize=True,
        )


class _Counted(gymnasium.Wrapper):
    """Adds up the rewards since the reset."""

    total = 0.0

    def reset(self, **options):
        self.total = 0.0
        return self.env.reset(**options)

    def step(self, action):
        result = self.env.step(action)
        self.total += float(result[1])
        return result


def _collect(shots: Iterator[np.ndarray], total) -> tuple[np.ndarray, np.ndarray]:
    found = [(shot, total()) for shot in shots]
    return np.array([shot for shot, _ in found]), np.array([t for _, t in found])


def _palette(pictures: Sequence):
    """One for all: a palette for each frame takes more space, and flickers."""
    from PIL import Image

    some = pictures[:: max(1, len(pictures) // _SAMPLED)] + pictures[-1:]
    width, height = some[0].size
    whole = Image.new("RGB", (width, height * len(some)))
    for place, picture in enumerate(some):
        whole.paste(picture, (0, place * height))
    # Small things, such as the balls of a plan, keep their colours.
    return whole.quantize(_COLORS, method=Image.Quantize.MAXCOVERAGE)


def _frame(panels: Sequence[Panel], number: int, width: int):
    """The film's picture of this number."""
    from PIL import Image, ImageDraw, ImageFont

    height = round(width * panels[0].shots.shape[1] / panels[0].shots.shape[2])
    picture = Image.new("RGB", (width * len(panels), height + _CAPTION), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(_FONT)
    for place, panel in enumerate(panels):
        last = len(panel.shots) - 1
        is_over = number > last
        shot = Image.fromarray(np.asarray(panel.shots[min(number, last)], np.uint8))
        shot = shot.resize((width, height))
        if is_over:
            shot = shot.convert("L").convert("RGB")
        picture.paste(shot, (place * width, _CAPTION))
        total = panel.totals[min(number, last)]
        text = f"{panel.label}\nreturn {total:.0f}{', over' if is_over else ''}"
        draw.multiline_text((place * width + 4, 2), text, "black", font, spacing=1)
    return picture
