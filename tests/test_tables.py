"""Tables as text."""

import pytest

from ractd_jax.tables import latex_row, markdown_table


def test_a_markdown_table():
    assert markdown_table(("a", "b"), [(1, "x|y"), ("", 2.5)]) == (
        "| a | b |\n|---|---|\n| 1 | x\\|y |\n|  | 2.5 |"
    )
    assert markdown_table(("a", "b"), [], " --- ") == "| a | b |\n| --- | --- |"


def test_a_row_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="expected 2 cells, found 1"):
        markdown_table(("a", "b"), [("c",)])


def test_a_latex_row_is_escaped():
    assert latex_row(["a_b", "5%"]) == r"a\_b & 5\% \\"
