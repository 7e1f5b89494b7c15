"""Imports point down the list of layers, and only where networks are trained is TensorFlow imported."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "skinmnist"

#: From the commands down; a file may import its own layer and those below it.
LAYERS = [
    "commands",
    "console",
    "web",
    "teaching",
    "reporting",
    "leakage",
    "presets",
    "analysis",
    "experiment",
    "models",
    "resampling",
    "inference",
    "features",
    "datasets",
    "ground",
]
#: Top-level files that are no commands.
GROUND = {"code_digest", "errors", "facts", "text"}
#: Reporting reads what models have left behind, and never a model; the page shows what a classifier answers.
FORBIDDEN = {
    "reporting": {"models"},
    "presets": {"leakage"},
    "web": {"teaching", "reporting", "leakage", "presets", "analysis", "experiment", "models", "resampling"},
}
HEAVY = {"keras", "tensorflow"}

FILES = sorted(PACKAGE.rglob("*.py"))


def layer_of(parts: list[str]) -> str:
    if (PACKAGE / parts[0]).is_dir():
        return parts[0]
    return "ground" if parts[0] in GROUND else "commands"


def imports_of(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [node.module or ""]
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts
    if own == ("__init__",):
        return  # The public face hands out names of every layer, lazily.
    own_layer = layer_of([*own])
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "skinmnist" or len(parts) == 1 or parts[1] in ("__version__",):
            continue
        if not ((PACKAGE / parts[1]).exists() or (PACKAGE / f"{parts[1]}.py").exists()):
            continue
        layer = layer_of(parts[1:2])
        assert LAYERS.index(layer) >= LAYERS.index(own_layer), (
            f"{'.'.join(own)} imports {name}, which is above"
        )
        assert layer not in FORBIDDEN.get(own_layer, set()), f"{'.'.join(own)} must not import {name}"


def network_files() -> set[Path]:
    """Return the networks' classifier and everything under models that it imports."""
    found, open_files = set(), [PACKAGE / "models" / "cnn" / "classifier.py"]
    while open_files:
        path = open_files.pop()
        found.add(path)
        for name in imports_of(path):
            target = PACKAGE.parent / Path(*name.split(".")).with_suffix(".py")
            if target.is_relative_to(PACKAGE / "models") and target.is_file() and target not in found:
                open_files.append(target)
    return found


def test_tensorflow_only_behind_the_network():
    heavy = {path for path in FILES if {name.split(".")[0] for name in imports_of(path)} & HEAVY}
    assert heavy, "no file imports TensorFlow: this test looks at nothing"
    assert heavy <= network_files()


#: What it takes to predict, beside the features and the data sets.
PREDICTING = {"numpy", "PIL", "onnxruntime", "platformdirs"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "inference").glob("*.py")), ids=lambda path: path.stem)
def test_predicting_takes_little(path):
    for name in imports_of(path):
        parts = name.split(".")
        if parts == ["skinmnist"]:
            continue
        if parts[0] == "skinmnist":
            assert layer_of(parts[1:]) in {"inference", "features", "datasets", "ground"}, name
        else:
            assert parts[0] in PREDICTING | sys.stdlib_module_names, name


def test_only_commands_print():
    for path in set(FILES) - {PACKAGE / "teaching" / "notebook_api.py"}:  # It prints in notebooks.
        if layer_of([*path.relative_to(PACKAGE).with_suffix("").parts]) in {"commands", "console"}:
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
        assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path
