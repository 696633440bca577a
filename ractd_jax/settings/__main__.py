"""``python -m ractd_jax.settings > docs/settings.md``: every field in one page."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ractd_jax.settings.options import described_fields
from ractd_jax.settings.tree import Settings

_HEAD = """# Settings

Every field with its default and its range, as `python -m ractd_jax.settings` prints
them. A config file's preset replaces some of the defaults, and a flag such as
`--config.student.reward_weight=0.5` replaces one field. In a session,
`help(ractd_jax.settings.Student)` prints a section; the mains' `--helpfull` prints all.
"""


def _tables(section, name: str) -> Iterator[str]:
    default = {
        field.name: getattr(section, field.name)
        for field in dataclasses.fields(section)
    }
    yield f"\n## {name}\n\n{type(section).__doc__.splitlines()[0]}\n"
    yield "| field | default | what it sets |\n|---|---|---|"
    for field, text in described_fields(type(section)):
        yield f"| `{name}.{field}` | `{default[field]!r}` | {text} |"
    for field, value in default.items():
        if dataclasses.is_dataclass(value):
            yield from _tables(value, f"{name}.{field}")


def as_markdown() -> str:
    """A heading and a table for each section."""
    return "\n".join([_HEAD.rstrip(), *_tables(Settings(), "config")]) + "\n"


if __name__ == "__main__":
    print(as_markdown(), end="")
