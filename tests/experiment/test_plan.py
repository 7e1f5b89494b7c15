"""What makes stored cells stale."""

import ast
from pathlib import Path

import skinmnist
from skinmnist.experiment import plan

PACKAGE = Path(skinmnist.__file__).parent


def imported(module):
    """Files of evaluation, models and resampling, and the table, that a module imports, and so on."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("skinmnist."):
            path = node.module.removeprefix("skinmnist.").replace(".", "/")
            file = path + ".py" if (PACKAGE / (path + ".py")).is_file() else path + "/__init__.py"
            found.add(file)
    return found


def test_every_file_that_a_cell_is_computed_with_is_part_of_its_identity():
    reached, waiting = set(), {"experiment/fit_cell.py"}
    while waiting:
        module = waiting.pop()
        reached.add(module)
        waiting |= imported(module) - reached
    known = {str(path.relative_to(PACKAGE)) for pattern in plan._COMPUTING for path in PACKAGE.glob(pattern)}
    # What a cell is told or tells: names, errors, containers.
    harmless = {"errors.py", "facts.py", "experiment/cells.py"}
    assert reached - harmless <= known
    assert "experiment/describing.py" in reached
