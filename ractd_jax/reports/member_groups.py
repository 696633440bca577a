"""Groups the trainings of sweeps by their parameters."""

from __future__ import annotations

from collections.abc import Sequence

from ractd_jax.errors import ConfigError
from ractd_jax.reports.results_table import Member, as_text


def group_members(
    members: Sequence[Member], by: Sequence[str] = ()
) -> dict[tuple[str, ...], list[Member]]:
    """Members by the values of the parameters `by`, all parameters if none is named.

    Groups are ordered by size where values are numbers, else as in the files.

    Raises:
      ConfigError: a parameter that a member does not have, members of a group that
        share task and seed (they are not independent), or groups with other tasks.
    """
    by = list(by) or parameters_of(members)
    groups: dict[tuple[str, ...], list[Member]] = {}
    for member in members:
        for name in set(by) - set(member.params):
            raise ConfigError(
                f"--by: {member.source}: {member.name} has no parameter '{name}', "
                f"expected some of {', '.join(member.params) or 'none'}"
            )
        groups.setdefault(tuple(member.params[name] for name in by), []).append(member)
    for key, group in groups.items():
        _check_independent(label_of(by, key), group, by)
    tasks = {key: {m.task.name for m in group} for key, group in groups.items()}
    every = set.union(*tasks.values())
    for key, names in tasks.items():
        if names != every:
            raise ConfigError(
                f"{label_of(by, key)}: expected the tasks of the other groups, "
                f"{', '.join(sorted(every))}, found only {', '.join(sorted(names))}"
            )
    places = [_order([key[i] for key in groups]) for i in range(len(by))]
    ordered = sorted(
        groups, key=lambda key: [place[v] for place, v in zip(places, key, strict=True)]
    )
    return {key: groups[key] for key in ordered}


def parameters_of(members: Sequence[Member]) -> list[str]:
    """Every parameter that some member has."""
    return list(dict.fromkeys(name for member in members for name in member.params))


def label_of(by: Sequence[str], key: Sequence[str]) -> str:
    """``name=value`` of a group, with commas."""
    named = (f"{name}={value}" for name, value in zip(by, key, strict=True))
    return ", ".join(named) or "all"


def _check_independent(label, group, by):
    seen: dict[tuple, Member] = {}
    for member in group:
        other = seen.setdefault((member.task.name, member.seed), member)
        if other is member:
            continue
        names = [n for n in parameters_of([other, member]) if n not in by]
        differing = [n for n in names if other.params.get(n) != member.params.get(n)]
        hint = f"add {', '.join(differing)} to --by" if differing else "drop one"
        raise ConfigError(
            f"{label}: expected one run for each task and seed, found "
            f"{other.source}: {other.name} and {member.source}: {member.name}: {hint}"
        )


def _order(values):
    """Position of each value: by size where all are numbers, else by appearance."""
    values = list(dict.fromkeys(values))
    try:
        values.sort(key=float)
    except ValueError:
        pass
    return {value: place for place, value in enumerate(values)}


def find_group(
    keys: Sequence[tuple[str, ...]], by: Sequence[str], text: str
) -> tuple[str, ...]:
    """The key that `text` means: the values of `by` with commas, or ``name=value``.

    Raises:
      ConfigError: there is no such group.
    """
    given = [part.strip() for part in text.split(",")]
    named = [
        part.removeprefix(f"{name}=") for part, name in zip(given, by, strict=False)
    ]
    for key in keys:
        if len(given) == len(by) and all(map(_is_same, key, named)):
            return key
    expected = ", or ".join(f"'{label_of(by, key)}'" for key in keys)
    raise ConfigError(f"--baseline: expected {expected}, found '{text}'")


def _is_same(value, text):
    try:
        return value == as_text(float(text))
    except ValueError:
        return value == text
