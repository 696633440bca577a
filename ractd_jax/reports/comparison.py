"""Everything that a comparison of groups of trainings consists of, as files."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ractd_jax.files import check_writable, with_ending, write_bytes, write_json
from ractd_jax.reports.aggregate_pictures import (
    draw_intervals,
    draw_profiles,
    draw_training,
)
from ractd_jax.reports.aggregate_report import format_latex, format_markdown
from ractd_jax.reports.aggregate_summary import summarize_groups
from ractd_jax.reports.member_groups import find_group, group_members, parameters_of
from ractd_jax.reports.results_table import read_results

_PICTURES = tuple(f"_{name}.png" for name in ("profiles", "intervals", "training"))
_ENDINGS = (".md", ".json", ".tex", *_PICTURES)


def write_comparison(
    results: Sequence[str | os.PathLike],
    output: str | os.PathLike,
    by: Sequence[str] = (),
    baseline: str | None = None,
    command: str = "",
) -> str:
    """Writes everything, and returns the Markdown.

    Args:
      results: folders of sweeps.
      output: path of the files, without suffix.
      by: parameters to compare; none takes all.
      baseline: group to compare the others with, such as ``0``.
      command: what to print under the tables.

    Raises:
      DataError: the folders hold no sweep, or a damaged one; a file cannot be written.
      ConfigError: groups that cannot be made or compared.
    """

    def path(ending):
        return with_ending(output, ending)

    check_writable(*map(path, _ENDINGS))
    members = read_results(results)
    by = list(by) or parameters_of(members)
    groups = group_members(members, by)
    against = None if baseline is None else find_group(list(groups), by, baseline)
    summary = summarize_groups(groups, by, against)

    write_json(path(".json"), {**summary, "command": command})
    table = format_markdown(summary, command)
    write_bytes(path(".md"), table.encode())
    write_bytes(path(".tex"), format_latex(summary, command).encode())
    draw_profiles(path("_profiles.png"), groups, by)
    draw_intervals(path("_intervals.png"), summary)
    draw_training(path("_training.png"), groups, by)
    return table
