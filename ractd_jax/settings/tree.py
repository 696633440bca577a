"""All sections as one tree, and its conversion to and from nested mappings."""

from __future__ import annotations

import dataclasses
import json
import os
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from ractd_jax.errors import ConfigError
from ractd_jax.settings.data import Dataset, Environment, Plan
from ractd_jax.settings.models import Diffusion, Network
from ractd_jax.settings.options import option, option_of, section, seed_option
from ractd_jax.settings.running import Controller, Evaluation, Run
from ractd_jax.settings.student import Student
from ractd_jax.settings.trainings import (
    BehaviourCloning,
    Cql,
    Critic,
    Ddpm,
    DiscreteCloning,
    InverseDynamics,
    Reward,
    Steering,
    Td3Bc,
    Teacher,
)


@section
class Settings:
    """All settings of a run."""

    task: str = option(
        "hopper-medium-expert", "Task name, for folders and for matching checkpoints."
    )
    seed: int = seed_option(0, "Seed of the training.")
    environment: Environment = Environment()
    dataset: Dataset = Dataset()
    plan: Plan = Plan()
    network: Network = Network()
    diffusion: Diffusion = Diffusion()
    teacher: Teacher = Teacher()
    ddpm: Ddpm = Ddpm()
    bc: BehaviourCloning = BehaviourCloning()
    reward: Reward = Reward()
    critic: Critic = Critic()
    student: Student = Student()
    steering: Steering = Steering()
    td3_bc: Td3Bc = Td3Bc()
    controller: Controller = Controller()
    inverse_dynamics: InverseDynamics = InverseDynamics()
    evaluation: Evaluation = Evaluation()
    run: Run = Run()
    discrete_bc: DiscreteCloning = DiscreteCloning()
    cql: Cql = Cql()


def to_dict(settings: Settings) -> dict:
    """Nested plain dicts, with tuples as they are."""
    return dataclasses.asdict(settings)


def with_absolute_paths(settings: Any) -> Any:
    """`settings`, or a section, whose paths mean the same in every working folder."""
    changes = {}
    for field in dataclasses.fields(settings):
        value, described = getattr(settings, field.name), option_of(field)
        if described is None:
            changes[field.name] = with_absolute_paths(value)
        elif described.is_path and value:
            changes[field.name] = os.path.abspath(value)
    return dataclasses.replace(settings, **changes)


def differences(
    before: Mapping, now: Mapping, default: Mapping | None = None, prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """(name, before, now) of what differs between settings read from JSON and others.

    A setting that `before` does not know counts as its default there: the default of
    a new setting does what was done before there was one.
    """
    if default is None:
        default = json.loads(json.dumps(to_dict(Settings())))
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key, default.get(key)), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            within = default.get(key, {})
            yield from differences(old, new, within, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}", old, new


def from_mapping(mapping: Mapping, default=Settings(), prefix: str = ""):  # noqa: B008
    """`default` with the values of nested mappings in place of its own.

    Raises:
      ConfigError: an unknown key, a value of another type, or one out of range.
    """
    if not hasattr(mapping, "items"):
        name = f"config.{prefix}"[:-1]
        raise ConfigError(f"{name}: expected a section, found {mapping!r}")
    hints = typing.get_type_hints(type(default))
    fields = {field.name: field for field in dataclasses.fields(default)}
    values = {}
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if key not in hints:
            known = ", ".join(sorted(hints))
            raise ConfigError(f"config.{name} is not a setting; known here: {known}")
        if dataclasses.is_dataclass(hints[key]):
            values[key] = from_mapping(value, getattr(default, key), f"{name}.")
        else:
            values[key] = _of_type(name, value, hints[key])
            if values[key] is not None:
                values[key] = option_of(fields[key]).checked(name, values[key])
    return dataclasses.replace(default, **values)


def is_optional(hint) -> bool:
    """Whether a field of this type may be None."""
    return type(None) in typing.get_args(hint)


def _of_type(name: str, value, hint):
    """`value` as the type of a field: lists become tuples, integers floats."""
    expected = hint.__name__ if isinstance(hint, type) else str(hint)
    if is_optional(hint):
        if value is None:
            return None
        (hint,) = (kind for kind in typing.get_args(hint) if kind is not type(None))
        expected = f"{hint.__name__} or None"
    if hint is float and type(value) is int:
        value = float(value)
    elif typing.get_origin(hint) is tuple:
        whole = isinstance(value, (list, tuple)) and all(type(v) is int for v in value)
        if not whole or not value or min(value) < 1:
            raise ConfigError(
                f"config.{name}: expected positive integers, found {value!r}"
            )
        return tuple(value)
    if type(value) is not hint:
        raise ConfigError(
            f"config.{name}: expected {expected}, found "
            f"{type(value).__name__} {value!r}"
        )
    return value
