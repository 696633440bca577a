"""Models of earlier stages, opened for the stage or planner that builds on them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging

from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import CheckpointError
from ractd_jax.methods import Critic, Rating, RewardEnsemble
from ractd_jax.normalizers import normalizer_from_dict
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.storage.checkpoint import FOLDER, StoredModel
from ractd_jax.storage.workdir import check_same_dataset

# Stages whose models rate plans.
RATINGS = ("reward", "critic")


def load_stage_model(
    directory, stages: str | Sequence[str], settings: Settings
) -> StoredModel:
    """Opens a checkpoint that must be of this stage and of the same task.

    Args:
      directory: workdir of a training.
      stages: the stage, or several that it may be of.
      settings: settings whose task it must have.

    Raises:
      CheckpointError: it belongs to another stage or task.
    """
    stored = StoredModel(directory)
    stage, expected = stored.metadata["stage"], stages
    if not isinstance(stages, str):
        expected = stage if stage in stages else " or ".join(stages)
    if stage != expected:
        raise CheckpointError(
            f"{directory}: expected a {expected} checkpoint, found a {stage} checkpoint"
        )
    task = stored.metadata["settings"]["task"]
    if task != settings.task:
        raise CheckpointError(
            f"{directory}: expected a checkpoint of task '{settings.task}', found one "
            f"of task '{task}'"
        )
    expected = stored.metadata["settings"][stage]["num_steps"]
    if stored.step < expected:
        logging.warning(
            "%s: its training stopped at step %d of %d",
            directory,
            stored.step,
            expected,
        )
    return stored


def reference(stored: StoredModel) -> dict[str, Any]:
    """What a model keeps of one that it was built on."""
    directory = os.path.abspath(stored.directory)
    return {"directory": directory, "step": stored.step, "sha256": stored.sha256}


def find_built_on(stored: StoredModel, name: str) -> str:
    """The folder of a model that `stored` was built on.

    It is where it was, or as far from the folder of `stored` as it was then.

    Args:
      stored: such as a student.
      name: such as ``reward``, by which its metadata and a flag know the other.

    Raises:
      CheckpointError: it is in none of these places.
    """
    directory = stored.metadata[name]["directory"]
    here = Path(os.path.abspath(stored.directory))
    places = [directory, os.path.abspath(directory)]
    if before := stored.metadata.get("workdir"):
        places.append(os.path.normpath(here / os.path.relpath(directory, before)))
    elif not os.path.isabs(directory):  # of an older checkpoint
        places += [str(parent / directory) for parent in here.parents]
    places.append(str(here.parent / Path(directory).name))
    places = list(dict.fromkeys(places))
    for place in places:
        if (Path(place) / FOLDER).is_dir():
            return place
    raise CheckpointError(
        f"{stored.directory}: expected the {name} model that it was trained with, "
        f"found none in {', '.join(places)}: name its folder (--{name}, or {name}= "
        "of load_planner)"
    )


def check_same_data(stored: StoredModel, metadata: dict) -> None:
    """Raises CheckpointError when a model was made for other data.

    Sizes and normalisers are compared and, where both have a digest, the content.
    """

    def dimensions(metadata):
        # How a condition enters the planner, and of what rank, is nothing to a reward
        # model.
        dims = Dimensions(**metadata["dimensions"])
        if stored.metadata["stage"] in RATINGS:
            dims = dataclasses.replace(dims, conditioning="film", rank=0)
        return dims

    pairs = {
        "dimensions": [
            dataclasses.asdict(dimensions(each)) for each in (stored.metadata, metadata)
        ],
        "normalizers": [each["normalizers"] for each in (stored.metadata, metadata)],
    }
    for name, (before, now) in pairs.items():
        names = sorted(before.keys() | now.keys())
        differing = [each for each in names if before.get(each) != now.get(each)]
        if differing:
            raise CheckpointError(
                f"{stored.directory}: its {name} ({', '.join(differing)}) differ from "
                "those of this dataset and config (dataset.observation_normalizer and "
                "the plan section among them); train it again with the same"
            )
    check_same_dataset(stored.directory, stored.metadata, metadata)


def load_rating(
    directory, settings: Settings, metadata: dict, num_members: int | None
) -> tuple[Rating, Any, StoredModel]:
    """What rates plans: reward models or a critic of the same task and data.

    Args:
      directory: workdir of a training of stage ``reward`` or ``critic``.
      settings: of the planner or student that asks.
      metadata: of that planner or student.
      num_members: members of the ensemble to keep, the first ones; None for all.

    Returns:
      (method, its EMA parameters, the stored model).

    Raises:
      CheckpointError: another stage, task or dataset, or too few members.
    """
    stored = load_stage_model(directory, RATINGS, settings)
    check_same_data(stored, metadata)
    dims = Dimensions(**metadata["dimensions"])
    own = from_mapping(stored.metadata["settings"])
    plans = own.plan, from_mapping(metadata["settings"]).plan
    if stored.metadata["stage"] == "reward" and own.reward.target == "plan_return":
        # The plans themselves are its input.
        found, expected = (plan.stride for plan in plans)
        if found != expected:
            raise CheckpointError(
                f"{stored.directory}: expected config.plan.stride = {expected} in the "
                f"model that rates plans, found {found}"
            )
    if stored.metadata["stage"] == "critic":
        offset = stored.metadata["value_offset"]
        changes = metadata["normalizers"].get("changes")
        changes = changes and normalizer_from_dict(changes)
        method: Rating = Critic.from_settings(own, dims, offset, changes)
    else:
        method = RewardEnsemble.from_options(own.reward, dims)
    keep = method.num_members if num_members is None else num_members
    if keep > method.num_members:
        raise CheckpointError(
            f"{stored.directory}: expected at least {keep} members "
            f"(config.student.num_members), found {method.num_members}"
        )
    params = stored.load(jax.eval_shape(method.init, jax.random.key(0)))
    return *method.keep(params, keep), stored
