"""What makes stored cells stale."""

from pathlib import Path

import pytest

import skinmnist
from skinmnist.code_digest import _reached
from skinmnist.experiment import plan

PACKAGE = Path(skinmnist.__file__).parent


@pytest.fixture(scope="module")
def reached():
    return {str(path.relative_to(PACKAGE)) for path in _reached(plan._COMPUTING)}


def test_everything_that_computes_cells_makes_them_stale(reached):
    rooms = ["features", "models", "models/cnn", "resampling"]
    computing = {str(path.relative_to(PACKAGE)) for room in rooms for path in (PACKAGE / room).glob("*.py")}
    computing |= {"datasets/mapped.py", "datasets/table.py"}
    computing |= {f"experiment/{name}.py" for name in ("fit_cell", "fusion", "splits", "training", "inputs")}
    published = {"models/blueprints.py", "models/cnn/stacked.py"}
    missing = computing - reached - published
    assert {path for path in missing if not path.endswith("__init__.py")} == set()


def test_nothing_else_does(reached):
    others = ("analysis", "console", "datasets/images", "inference", "leakage", "presets", "reporting", "web")
    shared = {"inference/kernel.py"}  # What support vector machines compute with, here and in model files.
    assert not [path for path in reached - shared if path.startswith(others)]
    assert "experiment/comparison.py" not in reached
