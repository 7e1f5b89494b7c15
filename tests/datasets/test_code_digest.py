"""What makes stored results stale: the code that computes them, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import skinmnist
from skinmnist.datasets import cache as module
from skinmnist.datasets.cache import code_digest

FILES = {
    "entry.py": (
        '"""Computes."""\nfrom skinmnist.rooms.used import LIMIT\n\n'
        "def run(x):\n    from skinmnist.late import double\n\n"
        "    return double(x) if x in {'a', 'b'} else LIMIT + 1\n"
    ),
    "rooms/used.py": "import skinmnist.rooms.deep\n\nLIMIT = 3\n",
    "rooms/deep.py": "DEEP = (1, 2)\n",
    "late.py": "def double(x):\n    # Twice.\n    return 2 * x\n",
    "other.py": "OTHER = 1\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of five modules, one of which `entry` does not import."""
    folder = tmp_path / "skinmnist"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(module, "_PACKAGE", folder)
    yield folder
    code_digest.cache_clear()


def digest():
    code_digest.cache_clear()
    return code_digest("skinmnist.entry")


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("entry.py", "+ 1", "+ 2"),
        ("entry.py", "+ 1", "- 1"),
        ("entry.py", "'b'", "'c'"),
        ("rooms/used.py", "LIMIT = 3", "LIMIT = 4"),
        ("rooms/deep.py", "(1, 2)", "(2, 1)"),
        ("late.py", "2 * x", "x * 2"),
    ],
)
def test_a_change_of_what_computes_shows(package, file, old, new):
    before = digest()
    replace(package / file, old, new)
    assert digest() != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("other.py", "1", "2"),
        ("entry.py", '"""Computes."""', '"""Other words."""'),
        ("late.py", "# Twice.", "# Two times."),
        ("late.py", "return 2 * x", "return (\n        2\n        * x\n    )"),
    ],
)
def test_a_change_of_nothing_that_computes_does_not(package, file, old, new):
    before = digest()
    replace(package / file, old, new)
    assert digest() == before


def test_a_moved_file_does_not(package):
    before = digest()
    (package / "late.py").rename(package / "rooms" / "later.py")
    replace(package / "entry.py", "skinmnist.late", "skinmnist.rooms.later")
    assert digest() == before


def test_a_reached_file_that_is_gone_shows(package):
    before = digest()
    (package / "rooms" / "deep.py").unlink()
    assert digest() != before


def test_it_is_the_same_in_every_process(package, tmp_path):
    script = (
        "from pathlib import Path; from skinmnist.datasets import cache as m; "
        f"m._PACKAGE = Path({str(package)!r}); print(m.code_digest('skinmnist.entry'))"
    )
    root = str(Path(skinmnist.__file__).parents[1])
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": root,
            },
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert found == {digest() + "\n"}
