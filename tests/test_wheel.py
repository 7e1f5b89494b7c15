"""What a wheel installs works in an empty folder, and nothing is written into it."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from skinmnist.__main__ import COMMANDS
from skinmnist.presets.presets import FOLDER as PRESETS
from skinmnist.teaching.lesson import find_lessons

ROOT = Path(__file__).parent.parent
NO_CODE = shutil.ignore_patterns("__pycache__", "*.egg-info")
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
#: Runs every line of the standard input as a command, in one process.
TYPE = """
import shlex, sys
import skinmnist
from skinmnist.__main__ import main
print("in", skinmnist.__file__)
for line in sys.stdin:
    try:
        code = main(shlex.split(line))
    except SystemExit as leaving:
        code = leaving.code
    print("exit", code, line)
from skinmnist.presets.presets import find_preset, read_preset
# Describing one would import TensorFlow.
print("preset", read_preset(find_preset("Three_Convolutions")).head.page)
"""


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def build(kind: str, source: Path, target: Path) -> Path:
    """Build a distribution of a source tree, as pip and build do without isolation."""
    command = [sys.executable, "-W", "ignore", "-c", BUILD, kind, str(target)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Return the content of a wheel that was built from a source distribution."""
    place = tmp_path_factory.mktemp("built")
    clone = place / "clone"
    for name in ("skinmnist", "experiments", "docs"):
        shutil.copytree(ROOT / name, clone / name, ignore=NO_CODE)
    for name in ("data/README.md", "tests/test_wheel.py"):
        (clone / name).parent.mkdir()
        shutil.copy(ROOT / name, clone / name)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, clone)
    with tarfile.open(build("build_sdist", clone, place)) as archive:
        archive.extractall(place / "sdist", filter="data")
    (source,) = (place / "sdist").iterdir()
    wanted = ("benchmarks/naive.py", "build_command.py")
    assert all((source / "experiments" / name).is_file() for name in wanted)
    wanted = ("constraints.txt", "SECURITY.md", "data/README.md", "docs/statistics.md", "tests/test_wheel.py")
    assert all((source / name).is_file() for name in wanted)
    # Loading the build command has compiled it.
    assert not list(source.rglob("*.pyc"))
    wheel = zipfile.ZipFile(build("build_wheel", source, place))
    wheel.extractall(place / "site")
    wheel.close()
    return place / "site"


@pytest.fixture(scope="module")
def typed(installed, tmp_path_factory) -> str:
    """Return what commands print that are typed in an empty folder."""
    empty = tmp_path_factory.mktemp("empty")
    lines = ["--help", "--version", *(f"{name} --help" for name in COMMANDS)]
    lines += ["lessons --list", "lessons --exam answers.toml"]
    environment = os.environ | {
        "PYTHONPATH": str(installed),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SKINMNIST_CACHE": str(empty / "cache"),
        "SKINMNIST_DATA": "",
    }
    before = files_of(installed)
    done = subprocess.run(
        [sys.executable, "-c", TYPE],
        cwd=empty,
        env=environment,
        input="\n".join(lines),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"in {installed}" in done.stdout
    assert re.findall(r"^exit (?!0 ).*", done.stdout, re.MULTILINE) == []
    assert done.stdout.count("exit 0") == len(lines)
    assert files_of(installed) == before
    assert [path.name for path in empty.iterdir()] == ["answers.toml"]
    return done.stdout


def test_a_wheel_has_every_file_of_the_package(installed):
    wanted = {name for name in files_of(ROOT / "skinmnist") if "__pycache__" not in name}
    assert wanted <= set(files_of(installed / "skinmnist"))


def test_a_wheel_has_the_lessons_and_presets_as_they_are(installed):
    copies = files_of(installed / "skinmnist" / "_experiments")
    assert set(copies) == {
        *(path.name for path in PRESETS.glob("*.toml")),
        *(f"lessons/{lesson.path.name}" for lesson in find_lessons()),
        "lessons/teacher.md",
    }
    for name, content in copies.items():
        assert content == (PRESETS / name).read_bytes()


def test_a_wheel_installs_one_package(installed):
    assert {path.name.split("-")[0] for path in installed.iterdir()} == {"skinmnist"}


def test_commands_find_lessons_and_presets_in_an_empty_folder(typed):
    for lesson in find_lessons():
        assert f"{lesson.number:2}. {lesson.title}: {lesson.question}\n" in typed
    assert "answers.toml is a blank sheet" in typed
    assert "preset Skin-cancer-Lesion-Classification\n" in typed
