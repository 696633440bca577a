"""Models of earlier stages, opened for the stage or planner that builds on them."""

from __future__ import annotations

import dataclasses

import jax
from absl import logging

from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import CheckpointError
from ractd_jax.methods import RewardEnsemble
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.storage.checkpoint import StoredModel
from ractd_jax.storage.workdir import check_same_dataset


def load_stage_model(directory, stage: str, settings: Settings) -> StoredModel:
    """Opens a checkpoint that must be of this stage and of the same task.

    Raises:
      CheckpointError: it belongs to another stage or task.
    """
    stored = StoredModel(directory)
    found = stored.metadata["stage"]
    if found != stage:
        raise CheckpointError(
            f"{directory}: expected a {stage} checkpoint, found a {found} checkpoint"
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


def check_same_data(stored: StoredModel, metadata: dict) -> None:
    """Raises CheckpointError when a model was made for other data.

    Sizes and normalisers are compared and, where both have a digest, the content.
    """

    def dimensions(metadata):
        # How a condition enters the planner, and of what rank, is nothing to a reward
        # model.
        dims = Dimensions(**metadata["dimensions"])
        if stored.metadata["stage"] == "reward":
            dims = dataclasses.replace(dims, conditioning="film", rank=0)
        return dims

    pairs = {
        "dimensions": [
            dataclasses.asdict(dimensions(each)) for each in (stored.metadata, metadata)
        ],
        "normalizers": [each["normalizers"] for each in (stored.metadata, metadata)],
    }
    for name, (before, now) in pairs.items():
        differing = [each for each in now if before.get(each) != now[each]]
        if differing:
            raise CheckpointError(
                f"{stored.directory}: its {name} ({', '.join(differing)}) differ from "
                "those of this dataset and config (dataset.observation_normalizer and "
                "the plan section among them); train it again with the same"
            )
    check_same_dataset(stored.directory, stored.metadata, metadata)


def load_reward_members(stored: StoredModel, dims: Dimensions, num_members: int | None):
    """(ensemble, its stacked EMA parameters); None for all members."""
    options = from_mapping(stored.metadata["settings"]).reward
    keep = options.num_members if num_members is None else num_members
    if keep > options.num_members:
        raise CheckpointError(
            f"{stored.directory}: expected at least {keep} members "
            f"(config.student.num_members), found {options.num_members}"
        )
    ensemble = RewardEnsemble.from_options(options, dims)
    template = jax.eval_shape(ensemble.init, jax.random.key(0))
    params = stored.load(template)
    ensemble = dataclasses.replace(ensemble, num_members=keep)
    return ensemble, jax.tree.map(lambda leaf: leaf[:keep], params)
