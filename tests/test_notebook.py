"""The notebook runs on a finished run, and what it shows is right."""

import json
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "samplers.ipynb"
MANY_PLANS = "NUM_PLANS = 256"

# Runs after the notebook's own cells; its output is what the test reads.
PROBE = """
import json
print(json.dumps({
    "draws": {label: actions.tolist() for label, actions in draws.items()},
    "plans": plans.shape,
    "nfe": [p.nfe for p in (*teachers.values(), *students.values())],
    "knots": knots.tolist(),
    "path": path.shape,
    "init": float(np.std(path[0])),
    "end": float(np.abs(path[-1]).max()),
    "identity": float(identity),
    "errors": {name: error.tolist() for name, error in errors.items()},
    "seconds": {name: timing["p50"] for name, (_, timing) in latency.items()},
}))
"""


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_notebook_is_stored_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert all(
        not cell.outputs and cell.execution_count is None
        for cell in code_cells(notebook)
    )


@pytest.fixture(scope="module")
def executed(smoke_run):
    """(the executed notebook, what the probe read)."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (cell,) = [cell for cell in code_cells(notebook) if MANY_PLANS in cell.source]
    cell.source = cell.source.replace(MANY_PLANS, "NUM_PLANS = 32")
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RACTD_RUN", str(smoke_run))
        client = nbclient.NotebookClient(
            notebook,
            timeout=300,
            kernel_name="python3",
            resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        )
        client.execute()
    probe = notebook.cells.pop()
    return notebook, json.loads(probe.outputs[0].text)


@pytest.mark.slow
def test_every_cell_ran_and_every_figure_was_drawn(executed):
    cells = code_cells(executed[0])
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    kinds = [output for cell in cells for output in cell.outputs]
    assert all(output.output_type != "error" for output in kinds)
    assert sum("image/png" in output.get("data", {}) for output in kinds) == 3


@pytest.mark.slow
def test_every_sampler_drew_plans(executed):
    values = executed[1]
    assert values["plans"] == [32, 4, 3]
    assert values["nfe"] == [10, 40, 158, 1, 2, 3, 4]
    draws = {label: np.array(actions) for label, actions in values["draws"].items()}
    data = draws.pop("data")
    assert len(draws) == 7 and data.shape[1] == 3
    for actions in draws.values():
        assert actions.shape == (32, 3) and np.isfinite(actions).all()
    # Each has its own sampler: no two give the same actions.
    first = np.array([actions[0] for actions in draws.values()])
    assert len(np.unique(first.round(6), axis=0)) == 7


@pytest.mark.slow
def test_jumps_start_on_the_teachers_path(executed):
    values = executed[1]
    knots = np.array(values["knots"])
    assert values["path"] == [17, 8, 4, 3] and knots.shape == (17,)
    assert (np.diff(knots) < 0).all()
    np.testing.assert_allclose(knots[[0, -1]], [80.0, 0.02], rtol=1e-4)
    assert 60 < values["init"] < 100, "the path starts at sigma_max"
    assert values["end"] < 1.5, "the path ends in the data's range"
    assert values["identity"] < 1e-5, "a jump with s = t returns its input"
    assert set(values["errors"]) == {"CTD", "RACTD"}
    for error in map(np.array, values["errors"].values()):
        assert np.isfinite(error[np.triu_indices(17)]).all()
        assert np.isnan(error[np.tril_indices(17, -1)]).all()
        assert np.diag(error).max() < 1e-5 < error[0, -1]


@pytest.mark.slow
def test_one_step_is_faster_than_the_teacher(executed):
    fast, slow = executed[1]["seconds"].values()
    assert 0 < fast < slow / 3
