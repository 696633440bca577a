"""A field of the settings: its default, one sentence, and which values it takes."""

from __future__ import annotations

import dataclasses
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

from ractd_jax.errors import ConfigError
from ractd_jax.paths import local_path

_INFINITY = float("inf")
LARGEST_SEED = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Option:
    """What is known of a field besides its name, type and default.

    Attributes:
      text: what the field sets, in one sentence.
      choices: the values it takes; empty for any.
      positive: whether it must be more than 0.
      minimum: the smallest value; None for no range.
      maximum: the largest value, where there is a minimum.
      below: the bound that values stay under, where there is a minimum.
      is_path: whether it is a local path, in which ``~`` is expanded.
    """

    text: str
    choices: tuple[str, ...] = ()
    positive: bool = False
    minimum: float | None = None
    maximum: float | None = None
    below: float | None = None
    is_path: bool = False

    @property
    def limits(self) -> str:
        """Choices or range in words; empty where there are none."""
        if self.is_path:
            return "a local path"
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        ends = []
        if self.positive:
            ends.append("> 0")
        elif self.minimum is not None:
            ends.append(f">= {self.minimum:g}")
        if self.maximum is not None:
            ends.append(f"<= {self.maximum:.10g}")
        elif self.below is not None:
            ends.append(f"< {self.below:g}")
        return " and ".join(ends)

    def checked(self, name: str, value: Any) -> Any:
        """A value of the right type as the field takes it.

        Raises:
          ConfigError: it does not take it; names ``config.`` and `name`.
        """
        if self.is_path:
            return local_path(value, f"config.{name}")
        if self.choices and value not in self.choices:
            expected = f"{self.choices}"
        elif self.positive and not value > 0:
            expected = "more than 0"
        elif self.minimum is not None and not self._is_inside(value):
            expected = self._bounds
        else:
            return value
        raise ConfigError(f"config.{name}: expected {expected}, found {value!r}")

    def _is_inside(self, value) -> bool:
        if self.maximum is not None:
            return self.minimum <= value <= self.maximum
        return self.minimum <= value < self._open_end

    @property
    def _bounds(self) -> str:
        if self.maximum is not None:
            return f"{self.minimum} <= value <= {self.maximum}"
        return f"{self.minimum} <= value < {self._open_end}"

    @property
    def _open_end(self) -> float:
        return _INFINITY if self.below is None else self.below


def option(default: Any, text: str, **limits) -> Any:
    """A dataclass field with its description and limits.

    Args:
      default: the field's default.
      text: what the field sets, in one sentence.
      **limits: ``choices``, ``positive``, ``minimum``, ``maximum``, ``below`` and
        ``is_path`` of :class:`Option`.
    """
    return dataclasses.field(
        default=default, metadata={"option": Option(text, **limits)}
    )


def option_of(field: dataclasses.Field) -> Option | None:
    """The description of a field; None for one that is a section."""
    return field.metadata.get("option")


def described_fields(section: type) -> Iterator[tuple[str, str]]:
    """(name, sentence with the limits) of each plain field of a section."""
    for field in dataclasses.fields(section):
        described = option_of(field)
        if described is None:
            continue
        limits = described.limits
        yield field.name, described.text + (f" [{limits}]" if limits else "")


def described_tree(settings: Any, name: str = "config") -> Iterator[tuple[str, str]]:
    """(dotted name, sentence with the limits) of each field of all sections below."""
    for field, text in described_fields(type(settings)):
        yield f"{name}.{field}", text
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from described_tree(value, f"{name}.{field.name}")


def seed_option(default: int, text: str) -> Any:
    """A field that is a seed: what JAX, numpy and Gymnasium all take."""
    return option(default, text, minimum=0, maximum=LARGEST_SEED)


@typing.dataclass_transform(frozen_default=True, field_specifiers=(option,))
def section(cls: type) -> type:
    """A frozen dataclass whose docstring lists its fields, so that ``help`` does."""
    cls = dataclasses.dataclass(frozen=True)(cls)
    lines = [
        textwrap.fill(
            f"{name}: {text}", 84, initial_indent="  ", subsequent_indent=" " * 6
        )
        for name, text in described_fields(cls)
    ]
    cls.__doc__ = "\n".join([cls.__doc__, "", "Attributes:", *lines])
    return cls
