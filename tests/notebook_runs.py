"""Executes the notebooks at the size of a test, and reads what they found."""

import json
from collections.abc import Mapping
from pathlib import Path

import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def with_sizes(
    notebook: nbformat.NotebookNode, sizes: Mapping[str, str]
) -> nbformat.NotebookNode:
    """The notebook with lines of its code replaced; each must be there once."""
    for line, smaller in sizes.items():
        (cell,) = [
            cell for cell in code_cells(notebook) if line in cell.source.split("\n")
        ]
        lines = cell.source.split("\n")
        cell.source = "\n".join(smaller if found == line else found for found in lines)
    return notebook


def execute(
    name: str, sizes: Mapping[str, str], probe: str, environment: Mapping[str, str]
) -> tuple[nbformat.NotebookNode, dict]:
    """(the executed notebook, what the probe's expression gave as JSON).

    Args:
      name: of the notebook.
      sizes: line of its code -> the line that CI runs in its place.
      probe: a Python expression in the notebook's names, evaluated at the end.
      environment: variables of the kernel.
    """
    notebook = with_sizes(read(name), sizes)
    source = f"import json\nprint(json.dumps({probe.strip()}))"
    notebook.cells.append(nbformat.v4.new_code_cell(source))
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in environment.items():
            patch.setenv(variable, value)
        client = nbclient.NotebookClient(
            notebook,
            timeout=300,
            kernel_name="python3",
            resources={"metadata": {"path": str(FOLDER)}},
        )
        client.execute()
    probed = notebook.cells.pop()
    (output,) = [each for each in probed.outputs if each.get("name") == "stdout"]
    return notebook, json.loads(output.text)


def check_run(notebook: nbformat.NotebookNode) -> None:
    """Every cell ran in order, none failed, and each ``plt.show()`` drew a figure."""
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    for cell in cells:
        assert all(output.output_type != "error" for output in cell.outputs)
        drawn = sum("image/png" in output.get("data", {}) for output in cell.outputs)
        assert drawn == cell.source.count("plt.show()"), cell.id
