"""Where data comes from: its environment, and the returns that score 0 and 100."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from ractd_jax.dimensions import Bounds
from ractd_jax.tasks import D4RL_RETURNS, d4rl_reference, task_of
from ractd_jax.tasks.ant_maze import ANT_MAZES

# The environments that D4RL-v2 data pairs with, and the time limit of a D4RL episode.
_D4RL_ENVIRONMENTS = {
    "hopper": ("Hopper-v4", 1000),
    "halfcheetah": ("HalfCheetah-v4", 1000),
    "walker2d": ("Walker2d-v4", 1000),
}
# How D4RL's files name the mazes of ants: antmaze-umaze-v2, Ant_maze_u-maze_noisy_...
_ANT_MAZE = re.compile(
    r"ant-?maze-(?:(u-?maze)|(medium|big-maze)|(large|hardest-maze))"
)


class Reset(NamedTuple):
    """Arguments of an episode's reset.

    Attributes:
      seed: None where none was recorded.
      options: of the environment; None for none.
    """

    seed: int | None = None
    options: dict[str, Any] | None = None


class Origin(NamedTuple):
    """A dataset's own statement of its environment, reference returns and fields.

    Attributes:
      environment_id: Gymnasium id to evaluate in; empty when unknown.
      environment_spec: EnvSpec as JSON, where the id alone would not make it.
      score_min: true return that scores 0; None when unknown.
      score_max: true return that scores 100; None when unknown.
      score_source: where these two come from, in words.
      action_bounds: of the environment's actions, flat.
      left_out: names of wrappers that cannot be made again.
      reset: how the first episode was reset; None when unknown.
      has_rewards: whether it holds rewards; without, those of the episodes are 0.
      observation_keys: the parts of an observation in their order, with commas, where
        they were chosen.
    """

    environment_id: str = ""
    environment_spec: str = ""
    score_min: float | None = None
    score_max: float | None = None
    score_source: str = ""
    action_bounds: Bounds = Bounds()
    left_out: tuple[str, ...] = ()
    reset: Reset | None = None
    has_rewards: bool = True
    observation_keys: str = ""


def d4rl_family(name: str) -> str:
    """``hopper`` of ``hopper-medium-v2.hdf5``; empty for other names."""
    stem = Path(name).name.lower().replace("_", "-")
    if "kitchen" in stem:
        return "kitchen"
    if _ANT_MAZE.match(stem):
        return "antmaze"
    for family in D4RL_RETURNS:
        if re.match(rf"{family}(-|$|\.)", stem):
            return family
    return ""


def d4rl_time_limit(name: str) -> int:
    """Steps of a full D4RL episode, by the file's name; 0 when unknown."""
    return _D4RL_ENVIRONMENTS.get(d4rl_family(name), ("", 0))[1]


def origin_of_file(name: str, environment_id: str = "") -> Origin:
    """The origin of a D4RL file, from its name or the environment that it names."""
    family = d4rl_family(name)
    known = _D4RL_ENVIRONMENTS.get(family, ("", 0))[0]
    if family == "kitchen":
        # kitchen-mixed asks for the bottom burner, and the full names say so.
        mixed = re.search("mixed|bottomburner", Path(name).name.lower())
        known = f"ractd/Kitchen-{'Mixed-' if mixed else ''}Goal-v0"
    if match := _ANT_MAZE.match(Path(name).name.lower().replace("_", "-")):
        known = list(ANT_MAZES.values())[match.lastindex - 1]
    return with_reference(Origin(environment_id or known), family)


def with_reference(origin: Origin, family: str = "") -> Origin:
    """`origin` with D4RL's reference returns, where they apply and it has none.

    Args:
      origin: of the dataset.
      family: key of :data:`ractd_jax.tasks.D4RL_RETURNS`; by default the environment's.
    """
    if origin.score_max is not None:
        return origin
    if family:
        reference = d4rl_reference(family)
    else:
        task = task_of(origin.environment_id)
        reference = task.reference(origin.environment_id)
    if reference is None:
        return origin
    return origin._replace(
        score_min=reference.low,
        score_max=reference.high,
        score_source=reference.source,
    )
