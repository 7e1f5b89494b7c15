"""The first page of the documentation is a notebook: its cells run, and end in the trade-off figure."""

import importlib.util
import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from skinmnist import PixelTable, Run

NOTEBOOK = Path(__file__).parents[1] / "docs" / "first_steps.ipynb"


@pytest.fixture(scope="module")
def notebook():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runner():
    """What runs the notebook when the documentation is built."""
    path = NOTEBOOK.parent / "_ext" / "run_notebook.py"
    spec = importlib.util.spec_from_file_location("run_notebook", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_cells_run_from_arrays_to_the_figure(notebook, runner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    shown = runner.run_notebook(notebook, names)
    kinds = [type(one) for one in shown]
    assert kinds[1:3] == [PixelTable, Run]
    assert isinstance(shown[3], Figure)
    assert names["X"].shape == (len(names["y"]), 8, 8, 3)
    assert not names["run"].failures
    assert set(shown[4]["verdict"]) <= {"better", "worse", "practically equal", "undecided"}
    outputs = [runner.as_output(one)["data"] for one in shown]
    assert [list(one) for one in outputs] == [[], ["text/html"], ["text/html"], ["image/png"], ["text/html"]]
    assert not list(tmp_path.iterdir()), "nothing is written to disk"


def test_ten_cells_without_outputs_or_paths(notebook):
    cells = notebook["cells"]
    assert len(cells) == 10
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert not any(word in "".join(cell["source"]) for cell in code for word in ("open(", ".csv", "Path"))
