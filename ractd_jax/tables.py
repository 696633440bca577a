"""Tables as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        **{symbol: "\\" + symbol for symbol in "&%$#_{}"},
    }
)


def markdown_table(
    header: Sequence[object], rows: Iterable[Sequence[object]], rule: str = "---"
) -> str:
    """A Markdown table, without a line's end after its last row.

    Args:
      header: [C] cells, each shown as its text; a ``|`` in one is escaped.
      rows: [R] of C cells.
      rule: what stands under each cell of the header, with the spaces around it.

    Raises:
      ValueError: a row of another length than the header's.
    """
    lines = [_markdown_row(header), "|" + f"{rule}|" * len(header)]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"a row of a table: expected {len(header)} cells, found {len(row)}: "
                f"{list(row)}"
            )
        lines.append(_markdown_row(row))
    return "\n".join(lines)


def _markdown_row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", r"\|") for cell in cells) + " |"


def latex_row(cells: Sequence[str]) -> str:
    """A row of a tabular, its cells escaped."""
    return " & ".join(map(latex_text, cells)) + r" \\"


def latex_text(text: str) -> str:
    """`text` with what LaTeX would read as a command escaped."""
    return text.translate(_LATEX)
