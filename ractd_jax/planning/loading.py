"""Planners from the folders of their trainings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax

from ractd_jax.compilation_cache import use_compilation_cache
from ractd_jax.diffusion.guidance import Guidance
from ractd_jax.dimensions import Bounds, Dimensions
from ractd_jax.errors import CheckpointError, ConfigError
from ractd_jax.losses import PlanReturnFn
from ractd_jax.methods import PLAN_METHODS
from ractd_jax.normalizers import normalizer_from_dict
from ractd_jax.planning.planner import Planner
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.storage.checkpoint import StoredModel
from ractd_jax.storage.trained import find_built_on, load_rating


def load_planner(
    directory: str | os.PathLike,
    *,
    num_steps: int | None = None,
    weights: str = "ema",
    num_candidates: int | None = None,
    reward: str | os.PathLike | None = None,
    precision: str = "float32",
    temperature: float | None = None,
    target_rank: float | None = None,
    guidance_weight: float | None = None,
    guidance: Sequence[Guidance] = (),
) -> Planner:
    """Loads the planner trained in `directory`.

    Args:
      directory: workdir of a training of a method that makes plans: a teacher,
        student, ddpm or bc.
      num_steps: Heun steps of a teacher (default ``evaluation.teacher_steps`` of its
        settings), steps of a DDPM model (default all; fewer are DDIM's) or jumps of a
        student (default ``evaluation.student_steps``).
      weights: ``ema`` or ``raw``.
      num_candidates: N, plans sampled together for each observation, of which the
        one with the highest predicted return is taken (Monte-Carlo selection); by
        default ``evaluation.num_candidates`` of its settings, 1.
      reward: workdir of reward models or of a critic, which N > 1 needs; by default
        the one that the student was trained with.
      precision: ``bfloat16`` rounds the kernels, and a student on a CPU also reads or
        multiplies them in bfloat16. That is faster with large networks or many plans,
        and moves plans by less than a hundredth of their range (docs/performance.md).
      temperature: scale of the noise that plans start from, at least 0; by default
        ``evaluation.temperature`` of its settings.
      target_rank: in [-1, 1], the return's rank that conditions the plans of a model
        with ``plan.return_condition``; by default ``evaluation.target_rank`` of its
        settings.
      guidance_weight: weight of classifier-free guidance by the elements of a
        teacher's or DDPM model's plans, at least 0; by default
        ``evaluation.guidance_weight`` of its settings.
      guidance: transforms of a teacher's or DDPM model's denoiser of normalised plans
        (:mod:`ractd_jax.diffusion.guidance`), the last one outermost.

    Raises:
      ConfigError: the rank or the weight is out of range, or the plans have no such
        condition.
      CheckpointError: the folder has no readable checkpoint of a planner, or the reward
        model's folder has none.
      ValueError: an impossible number of steps or candidates, another precision, or
        guidance of a method that takes none.
    """
    use_compilation_cache()
    stored = StoredModel(directory)
    asked = {"target_rank": target_rank, "guidance_weight": guidance_weight}
    method, settings, dims = _method_of(stored, asked)
    evaluation = settings.evaluation
    template = jax.eval_shape(method.init, jax.random.key(0))
    if num_steps is None:
        num_steps = method.default_steps(settings)
    if num_candidates is None:
        num_candidates = evaluation.num_candidates
    rate, source = None, _source_of(stored, weights)
    if num_candidates > 1:
        rate, model = _load_plan_return(stored, reward, settings, num_candidates)
        source |= {"reward_directory": str(model.directory), "reward": model.sha256}
    normalizers: dict[str, Any] = {
        name: normalizer_from_dict(value)
        for name, value in stored.metadata["normalizers"].items()
    }
    bounds = stored.metadata.get("action_bounds", {})
    return Planner(
        settings,
        dims,
        stored.metadata["stage"],
        stored.load(template, weights),
        normalizers["observations"],
        normalizers["actions"],
        num_steps,
        rate,
        num_candidates,
        precision,
        evaluation.temperature if temperature is None else temperature,
        guidance,
        source,
        Bounds(**{name: tuple(values) for name, values in bounds.items()}),
        normalizers.get("changes"),
    )


def _source_of(stored: StoredModel, weights: str) -> dict[str, Any]:
    """See :class:`Planner`."""
    directory = os.path.abspath(stored.directory)
    found = {"directory": directory, "checkpoint": stored.sha256}
    return found | {"step": stored.step, "weights": weights}


def _method_of(stored: StoredModel, asked: dict[str, float | None]):
    """(method, settings, dimensions) of a stored planner.

    Args:
      stored: the checkpoint.
      asked: fields of ``evaluation`` -> what is asked of the condition, if not what
        the settings say.
    """
    name = stored.metadata["stage"]
    if name not in PLAN_METHODS:
        raise CheckpointError(
            f"{stored.directory}: expected a checkpoint of one of "
            f"{', '.join(PLAN_METHODS)}, found one of {name!r}"
        )
    settings = from_mapping(stored.metadata["settings"])
    dims = Dimensions(**stored.metadata["dimensions"])
    guided = bool(dims.elements) and PLAN_METHODS[name].takes_guidance
    needs = {
        "target_rank": (dims.rank, "plans of config.plan.return_condition = True"),
        "guidance_weight": (guided, "a teacher or ddpm of plans with elements"),
    }
    asked = {field: value for field, value in asked.items() if value is not None}
    for field in asked:
        fits, expected = needs[field]
        if not fits:
            raise ConfigError(f"{field}: expected {expected}, found {stored.directory}")
    settings = from_mapping({"evaluation": asked}, settings)
    return PLAN_METHODS[name].from_settings(settings, dims), settings, dims


def _load_plan_return(
    planner: StoredModel, directory, settings: Settings, count: int
) -> tuple[PlanReturnFn, StoredModel]:
    """What the `count` candidates of a stored planner are chosen by, and its model."""
    if not directory and "reward" not in planner.metadata:
        raise CheckpointError(
            f"{planner.directory}: {count} candidates need a reward model to choose "
            "with: expected its folder (--reward, or reward= of load_planner), found "
            "none"
        )
    directory = directory or find_built_on(planner, "reward")
    options = settings.student
    method, params, model = load_rating(
        directory, settings, planner.metadata, options.num_members
    )
    return method.plan_return_fn(jax.device_put(params), options.pessimism), model
