"""The numbers of a comparison of groups of trainings, as JSON-able values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ractd_jax.reports import aggregate
from ractd_jax.reports.aggregate import Estimate
from ractd_jax.reports.member_groups import label_of, parameters_of
from ractd_jax.reports.results_table import Checkpoint, Member

Groups = Mapping[tuple[str, ...], Sequence[Member]]

SELECTIONS: dict[str, Callable[[Member], Checkpoint]] = {
    "offline": lambda member: member.last,
    "online": lambda member: member.best,
}
STATISTICS = {
    "mean": aggregate.mean,
    "iqm": aggregate.iqm,
    "median": aggregate.median,
}


def task_names(groups: Groups) -> list[str]:
    """Every task, in the order of the files."""
    members = [member for group in groups.values() for member in group]
    return list(dict.fromkeys(member.task.name for member in members))


def scores_of(
    members: Sequence[Member], tasks: Sequence[str], selection: str
) -> list[np.ndarray] | None:
    """Scores [R_t] of the finite members, per task; None if some task has none.

    Args:
      members: members of one group.
      tasks: names of the tasks.
      selection: ``offline`` takes the last checkpoint, ``online`` the best evaluated.
    """
    select = SELECTIONS[selection]
    scores = [
        np.array([select(m).score for m in members if m.finite and m.task.name == task])
        for task in tasks
    ]
    return scores if all(map(len, scores)) else None


def summarize_groups(
    groups: Groups, by: Sequence[str], baseline: tuple[str, ...] | None = None
) -> dict:
    """Statistics of every group, by both selections.

    Args:
      groups: values of `by` -> members.
      by: names of the parameters.
      baseline: group to compare the others with.

    Returns:
      ``groups``, a row for each; ``tasks``, ``by``, ``baseline``, ``pooled`` (the
      parameters that differ within a group), ``confidence`` and ``resamples``.
    """
    tasks = task_names(groups)
    rows = []
    for key, members in groups.items():
        against = groups[baseline] if baseline not in (None, key) else None
        rows.append(
            {
                "label": label_of(by, key),
                "params": dict(zip(by, key, strict=True)),
                "runs": {
                    task: sum(m.finite for m in members if m.task.name == task)
                    for task in tasks
                },
                "members": len(members),
                "seeds": sorted({m.seed for m in members}),
                "non_finite": [_diverged(m) for m in members if not m.finite],
                "last_steps": sorted({m.last.step for m in members if m.finite}),
                "checkpoints": sorted({len(m.checkpoints) for m in members}),
                **{
                    selection: _selected(members, against, tasks, selection)
                    for selection in SELECTIONS
                },
            }
        )
    environments = {
        m.task.name: m.task.environment for group in groups.values() for m in group
    }
    return {
        "by": list(by),
        "tasks": environments,
        "baseline": None if baseline is None else label_of(by, baseline),
        "pooled": _pooled(groups, by),
        "confidence": aggregate.CONFIDENCE,
        "resamples": aggregate.RESAMPLES,
        "groups": rows,
    }


def _selected(members, against, tasks, selection):
    scores = scores_of(members, tasks, selection)
    others = None if against is None else scores_of(against, tasks, selection)
    found = {
        name: None if scores is None else _numbers(aggregate.estimate(scores, function))
        for name, function in STATISTICS.items()
    }
    found["improvement"] = None
    if scores is not None and others is not None:
        improvement = aggregate.probability_of_improvement(scores, others)
        found["improvement"] = _numbers(improvement)
    found["episodes"] = sum(
        m.last.episodes if selection == "offline" else m.episodes for m in members
    )
    found["scores"] = [_run(m, SELECTIONS[selection](m)) for m in members if m.finite]
    return found


def _numbers(estimate: Estimate) -> dict:
    return estimate._asdict()


def _run(member, checkpoint):
    return {
        "source": member.source,
        "name": member.name,
        "task": member.task.name,
        "seed": member.seed,
        "step": checkpoint.step,
        "episodes": checkpoint.episodes,
        "score": checkpoint.score,
    }


def _diverged(member):
    first = next(c.step for c in member.checkpoints if c.scores is None)
    return {
        "source": member.source,
        "name": member.name,
        "task": member.task.name,
        "seed": member.seed,
        "from_step": first,
    }


def _pooled(groups, by):
    """Parameters besides `by` that differ within some group."""
    return sorted(
        {
            name
            for members in groups.values()
            for name in parameters_of(members)
            if name not in by and len({m.params.get(name) for m in members}) > 1
        }
    )
