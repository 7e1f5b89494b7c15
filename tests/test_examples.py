"""The examples in the docstrings of the package: all of them run, and every public name has one.

An example of a method continues the example of its class, and those of figures that of a run.
"""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import skinmnist
from skinmnist import decisions
from skinmnist.experiment import grid, scorers
from skinmnist.models import registry as model_registry
from skinmnist.resampling import registry as sampler_registry

PACKAGE = Path(skinmnist.__file__).parent
#: Modules without an example are not imported here: some import TensorFlow.
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
#: Modules whose examples continue that of a class elsewhere.
CONTINUES = {"skinmnist.reporting.plots": "skinmnist.console.run.Run"}
#: Their functions are what to call for a name.
REGISTRIES = [model_registry, sampler_registry, grid, scorers]
#: They need TensorFlow.
WITHOUT_EXAMPLES = {"make_cnn", "make_cnn_tiny", "make_cnn_thorough", "make_cnn_early_stopping"}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Examples write files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def namespaces():
    """Names after each example that has run, by what it is an example of."""
    return {}


def run_examples(module, namespaces):
    """Run the examples of a module in order, classes before their methods."""
    found = [test for test in doctest.DocTestFinder().find(importlib.import_module(module)) if test.examples]
    for test in found:
        if test.name in namespaces:
            continue
        before = CONTINUES.get(module, test.name.rpartition(".")[0])
        test.globs.update(namespaces.get(before, {}))
        printed = []
        result = doctest.DocTestRunner().run(test, out=printed.append, clear_globs=False)
        assert not result.failed, "".join(printed)
        namespaces[test.name] = test.globs


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_are_true(module, namespaces):
    if module in CONTINUES and CONTINUES[module] not in namespaces:
        run_examples(CONTINUES[module].rpartition(".")[0], namespaces)
    run_examples(module, namespaces)


def test_there_are_many_examples():
    statements = sum(
        line.lstrip().startswith(">>> ")
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
    )
    assert statements >= 100


def public_things():
    """Yield what users call, by name."""
    yield from ((name, getattr(skinmnist, name)) for name in skinmnist.__all__)
    for module in (decisions, *REGISTRIES):
        for name, thing in vars(module).items():
            own = inspect.isfunction(thing) or (inspect.isclass(thing) and module is decisions)
            if own and thing.__module__ == module.__name__ and not name.startswith("_"):
                yield name, thing


@pytest.mark.parametrize(
    ("name", "thing"), [*public_things()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_public_name_has_an_example(name, thing):
    text = inspect.getdoc(thing) or ""
    assert ">>> " in text or name in WITHOUT_EXAMPLES
    if not inspect.isclass(thing) or name == "Progress":  # A run calls the methods of Progress.
        return
    for method, value in vars(thing).items():
        function = getattr(value, "__func__", value)
        if inspect.isfunction(function) and not method.startswith("_"):
            assert f"{method}(" in text or ">>> " in (inspect.getdoc(function) or ""), method
