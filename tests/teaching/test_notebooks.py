import json

from skinmnist.teaching.notebooks import to_notebook
from skinmnist.teaching.script import find_lessons


def test_a_notebook_holds_the_cells_of_its_lesson():
    for lesson in find_lessons():
        notebook = json.loads(to_notebook(lesson))
        assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
        assert len({cell["id"] for cell in notebook["cells"]}) == len(lesson.cells)
        for cell, written in zip(lesson.cells, notebook["cells"], strict=True):
            source = "".join(written["source"])
            assert cell.source in source
            assert (written["cell_type"] == "code") == (cell.kind == "code")
            assert ("<details>" in source) == (cell.kind == "solution")
            assert written.get("outputs", []) == []
