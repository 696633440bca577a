"""The sizes of plans and conditions, from the settings and the data."""

from __future__ import annotations

from ractd_jax.data.sources import OfflineDataset
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.settings import Plan, Settings
from ractd_jax.tasks import task_of


def dimensions(settings: Settings, dataset: OfflineDataset) -> Dimensions:
    """The sizes of plans with these settings on this dataset.

    Raises:
      ConfigError: settings of `plan` that contradict each other.
    """
    observation = dataset.episodes.observations.shape[1]
    _check_plan(settings.plan, observation)
    _check_guidance(settings)
    return Dimensions(
        observation=observation,
        action=dataset.episodes.actions.shape[1],
        horizon=settings.plan.horizon,
        history=settings.plan.history,
        goal=settings.plan.goal_size if settings.plan.kind == "states" else 0,
        plans_states=settings.plan.kind == "states",
        conditioning=settings.plan.conditioning,
        rank=int(settings.plan.return_condition),
        family=task_of(settings.environment.id).name,
        joint=settings.plan.kind == "joint",
        **_elements(settings),
    )


def _check_guidance(settings: Settings) -> None:
    """Raises ConfigError for guidance by elements that training does not provide."""
    plan = settings.plan
    for name in ("student", "evaluation"):
        weight = getattr(settings, name).guidance_weight
        if weight != 1.0 and (plan.elements == "none" or not plan.elements_dropout):
            raise ConfigError(
                f"config.{name}.guidance_weight: expected 1.0 without config.plan."
                "elements or with config.plan.elements_dropout = 0, as nothing is "
                f"learned of plans without elements then, found {weight}"
            )


def _elements(settings: Settings) -> dict[str, int]:
    """The sizes of what conditions plans besides their ends.

    Raises:
      ConfigError: the environment family knows of no kinds in an observation.
    """
    plan, task = settings.plan, task_of(settings.environment.id)
    if plan.elements == "none":
        return {}
    if plan.elements == "waypoints":
        return {"elements": plan.num_waypoints, "element_size": plan.goal_size}
    if not task.num_elements:
        raise ConfigError(
            "config.plan.elements: expected 'none' with "
            f"{settings.environment.id or 'no environment'}, whose family names no "
            "kinds, found 'observed'"
        )
    sizes = {"elements": task.num_elements, "element_size": 1}
    return {**sizes, "element_kinds": task.num_kinds}


def _check_plan(plan: Plan, observation: int) -> None:
    if plan.kind == "states":
        wrong = {
            "horizon": (plan.horizon < 2, "at least 2"),
            "history": (plan.history > 1, "1"),
            "return_condition": (plan.return_condition, "False"),
            "goal_size": (
                plan.goal_size > observation,
                f"at most {observation}, the size of an observation,",
            ),
            "execute": (plan.execute != 1, "1"),
            "executed_weight": (plan.executed_weight != 1.0, "1.0"),
            "relative": (
                plan.relative and (plan.goal_size > 0 or plan.conditioning != "film"),
                "False, or config.plan.goal_size = 0 and config.plan.conditioning = "
                "'film',",
            ),
            "split_at_goals": (
                plan.split_at_goals and not plan.goal_size,
                "False (config.plan.goal_size is 0)",
            ),
            "elements": (
                plan.elements != "none"
                and not (plan.goal_size and plan.elements == "waypoints"),
                "'none', or 'waypoints' with config.plan.goal_size above 0,",
            ),
        }
    else:
        joint, known = plan.kind == "joint", ("none", "observed")
        wrong = {
            "conditioning": (not joint and plan.conditioning != "film", "'film'"),
            "history": (joint and plan.history > 1, "1"),
            "return_condition": (joint and plan.return_condition, "False"),
            "stride": (plan.stride != 1, "1"),
            "relative": (plan.relative, "False"),
            "elements": (
                plan.elements not in (known if joint else known[:1]),
                "'none' or 'observed'" if joint else "'none'",
            ),
            "execute": (
                plan.execute > plan.horizon,
                f"at most config.plan.horizon = {plan.horizon}",
            ),
            "executed_weight": (
                plan.executed_weight != 1.0
                and not joint
                and plan.execute == plan.horizon,
                "1.0, as all of a plan is executed,",
            ),
        }
    for name, (is_wrong, expected) in wrong.items():
        if is_wrong:
            raise ConfigError(
                f"config.plan.{name}: expected {expected} with config.plan.kind = "
                f"{plan.kind!r}, found {getattr(plan, name)!r}"
            )
