"""The tree: imports point down the layers and name what is there, and every module has its tests."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "skinmnist"

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
    "decisions",
    "base",
]
#: Top-level files that are no commands.
BASE = {"errors", "facts", "names", "text"}
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
    return "base" if parts[0] in BASE else "commands"


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
        if parts == ["skinmnist"] or name.startswith("skinmnist.decisions.probabilities"):
            continue
        if parts[0] == "skinmnist":
            assert layer_of(parts[1:]) in {"inference", "features", "datasets", "base"}, name
        else:
            assert parts[0] in PREDICTING | sys.stdlib_module_names, name


def test_only_commands_print():
    for path in set(FILES) - {PACKAGE / "teaching" / "notebook_api.py"}:  # It prints in notebooks.
        if layer_of([*path.relative_to(PACKAGE).with_suffix("").parts]) in {"commands", "console"}:
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
        assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path


#: Modules without a test file of their own, and where their tests are.
TESTED_ELSEWHERE = {
    "__main__": "test_public.py",
    "datasets/files": "test_user_files.py, test_faulty_disk.py: no file of the user's is replaced",
    "datasets/images/limits": "test_pictures.py, test_hostile_pictures.py",
    "datasets/synthetic/rendering": "test_lesions.py, which renders them",
    "errors": "one class, raised in every test of bad input",
    "experiment/cells": "plain types, in every test of a run",
    "experiment/train_model": "test_exported.py, test_train.py",
    "facts": "constants",
    "features/descriptors": "test_extract.py: all features by plain loops",
    "features/image_ops": "test_extract.py",
    "inference/kernel": "test_classic.py, against libsvm",
    "leakage/leaks": "test_demonstrate.py",
    "models/export": "test_exported.py: exported models answer as the trained ones",
    "models/spec": "test_registry.py: plain types",
    "presets/claims": "test_run.py",
    "reporting/sections/data": "test_page.py, test_numbers.py",
    "reporting/sections/probabilities": "test_page.py, test_numbers.py",
}


def test_every_module_has_its_tests():
    modules = {path.relative_to(PACKAGE).with_suffix("") for path in FILES if path.stem != "__init__"}
    missing = {
        module.as_posix()
        for module in modules
        if not (ROOT / "tests" / module.with_name(f"test_{module.name}.py")).is_file()
    }
    assert missing == set(TESTED_ELSEWHERE)
    named = re.findall(r"test_\w+\.py", " ".join(TESTED_ELSEWHERE.values()))
    assert set(named) <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}


@cache
def module_file(name: str) -> Path | None:
    """Return the file of a module or package of this project; None where there is none."""
    path = ROOT.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def names_of(path: Path) -> set[str]:
    """Return what a module binds at its top level; of the public face also what it hands out lazily."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {"__doc__", "__file__", "__name__"}
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        waiting += ast.iter_child_nodes(node)
    if path == PACKAGE / "__init__.py":
        names |= names_of(path.with_suffix(".pyi"))
    return names


def is_there(dotted: str) -> bool:
    """Return whether dotted names lead to a module, or to a name in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        file = module_file(".".join(parts[:length]))
        if file is not None:
            return length == len(parts) or parts[length] in names_of(file)
    return False


def references(path: Path) -> Iterator[str]:
    """Yield what a file takes from this package: imports, and attributes of imported modules."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    modules = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "skinmnist":
            for alias in node.names:
                dotted = f"{node.module}.{alias.name}"
                modules[alias.asname or alias.name] = dotted
                yield dotted
    bound = {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            dotted = modules.get(node.value.id, "")
            if module_file(dotted or "none") and node.value.id not in bound:
                yield f"{dotted}.{node.attr}"


def check_all_there(named: list[tuple[Path, str]]) -> None:
    assert len(named) > 50
    assert not [f"{path.relative_to(ROOT)}: {name}" for path, name in named if not is_there(name)]


@pytest.mark.parametrize("folder", ["skinmnist", "tests", "experiments"])
def test_everything_imported_is_there(folder):
    check_all_there([(path, name) for path in (ROOT / folder).rglob("*.py") for name in references(path)])


def test_everything_that_texts_name_is_there():
    """Docstrings, comments, pages and documents name modules, classes and functions by their dotted names."""
    texts = [*ROOT.glob("*.md"), *PACKAGE.rglob("*.html"), *FILES]
    texts += [path for folder in ("docs", "experiments") for path in (ROOT / folder).rglob("*.md")]
    names = re.compile(r"(?<![\w./-])skinmnist(?:\.[a-z_]\w*)+(?:\.[A-Z]\w*)?")
    groups = {f"skinmnist.{kind}" for kind in ("samplers", "models", "metrics")}  # Of entry points.
    check_all_there(
        [
            (path, name)
            for path in texts
            for name in names.findall(path.read_text("utf-8"))
            if name not in groups
        ]
    )
