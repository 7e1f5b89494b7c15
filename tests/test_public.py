"""The public face: there, and light."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skinmnist
from skinmnist.__main__ import COMMANDS, main

HEAVY = ["tensorflow", "keras", "sklearn", "imblearn", "scipy", "pandas", "matplotlib", "joblib"]


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(m for m in sys.modules if '.' not in m))"
    return set(
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.split()
    )


@pytest.mark.parametrize("name", skinmnist.__all__)
def test_every_public_name_is_there(name):
    assert getattr(skinmnist, name).__name__ == name
    assert name in dir(skinmnist)


def test_the_public_names_are_those_of_the_stub():
    stub = Path(skinmnist.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    named = re.findall(r"^from (\S+) import (\w+) as \2$", stub, re.MULTILINE)
    assert stub.count("import ") == len(named) > 15
    assert skinmnist.__all__ == sorted(name for _, name in named)
    for module, name in named:
        assert getattr(skinmnist, name) is getattr(importlib.import_module(module), name)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'classify'"):
        skinmnist.classify  # noqa: B018


def test_no_public_name_hides_a_command():
    assert not set(skinmnist.__all__) & set(COMMANDS)


def test_import_is_light():
    assert not modules_after("import skinmnist") & {*HEAVY, "numpy"}


def test_a_run_imports_what_draws_when_it_draws():
    assert not modules_after("from skinmnist import Run, run_comparison") & {"matplotlib", "tensorflow"}


@pytest.mark.parametrize("command_name", COMMANDS)
def test_help_is_light(command_name):
    code = f"""
from skinmnist.{command_name} import main
try:
    main(["--help"])
except SystemExit as leaving:
    assert leaving.code == 0
"""
    assert not modules_after(code) & set(HEAVY)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_console_script_lists_commands(arguments, capsys):
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert all(command_name in shown for command_name in COMMANDS)


def test_console_script_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"skinmnist {skinmnist.__version__}\n"


def test_console_script_unknown_command(capsys):
    assert main(["compar"]) == 2
    complaint = (
        "skinmnist: unknown command 'compar'; did you mean 'compare'? (`skinmnist --help` shows all)\n"
    )
    assert capsys.readouterr().err == complaint


def test_console_script_runs_a_command(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no run.json" in capsys.readouterr().err
