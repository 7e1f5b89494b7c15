"""The first page of the documentation is a notebook: its cells run, and end in the trade-off figure."""

import ast
import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from skinmnist import PixelTable, Run

NOTEBOOK = Path(__file__).parents[1] / "docs" / "first_steps.ipynb"


@pytest.fixture(scope="module")
def cells():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def shown_by(code, names):
    """Run a cell as a notebook does, and return what its last expression shows."""
    *body, last = ast.parse(code).body
    if not isinstance(last, ast.Expr):
        body.append(last)
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    return (
        eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        if isinstance(last, ast.Expr)
        else None
    )


def test_the_cells_run_from_arrays_to_the_figure(cells, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    shown = [shown_by("".join(cell["source"]), names) for cell in cells if cell["cell_type"] == "code"]
    kinds = [type(one) for one in shown]
    assert kinds[1:3] == [PixelTable, Run]
    assert isinstance(shown[3], Figure)
    assert names["X"].shape == (len(names["y"]), 8, 8, 3)
    assert not names["run"].failures
    assert set(shown[4]["verdict"]) <= {"better", "worse", "practically equal", "undecided"}
    for one in (names["table"], names["run"]):
        assert one._repr_html_().count("<tr") > 5
    assert not list(tmp_path.iterdir()), "nothing is written to disk"


def test_ten_cells_without_outputs_or_paths(cells):
    assert len(cells) == 10
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert not any(word in "".join(cell["source"]) for cell in code for word in ("open(", ".csv", "Path"))
