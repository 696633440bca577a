"""The notebooks are stored as they ran, and what samplers.ipynb shows is right."""

import re

import nbformat
import numpy as np
import pytest

from tests.notebook_runs import FOLDER, check_run, code_cells, execute, read

NAMES = (
    "maze_guidance",
    "one_step_and_teacher",
    "own_reward",
    "samplers",
    "sweep_statistics",
)
LARGEST = 600_000  # bytes of a file
MACHINE_PATH = re.compile(r"(?<![\w.])/(tmp|work|home|root|usr|opt|Users)/")
# Evaluated after the notebook's own cells.
PROBE = """
{
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
}
"""


def texts(notebook):
    """All sources and all outputs that are text."""
    for cell in notebook.cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield output.get("data", {}).get("text/plain", "")


def test_the_list_of_notebooks_is_complete():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)
    listed = (FOLDER / "README.md").read_text()
    assert all(f"({name}.ipynb)" in listed for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_stored_as_it_ran(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[-1].source.startswith("## What to try")
    check_run(notebook)
    assert any(cell.outputs for cell in code_cells(notebook))
    assert not [text for text in texts(notebook) if MACHINE_PATH.search(text)]
    assert (FOLDER / f"{name}.ipynb").stat().st_size < LARGEST


@pytest.fixture(scope="module")
def executed(smoke_run):
    """(the executed notebook, what the probe read)."""
    sizes = {"NUM_PLANS = 256": "NUM_PLANS = 32"}
    return execute("samplers", sizes, PROBE, {"RACTD_RUN": str(smoke_run)})


@pytest.mark.slow
def test_every_cell_ran_and_every_figure_was_drawn(executed):
    check_run(executed[0])


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
