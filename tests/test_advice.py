"""Whatever a message advises is a command that exists, with options that it takes."""

import ast
import importlib
import re
import shlex
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinmnist import compare, predict, train
from skinmnist.__main__ import COMMANDS

PACKAGE = Path(__file__).parent.parent / "skinmnist"
#: Options of programs that are not ours.
FOREIGN = {
    "--nthreads": "dask worker",
    "--sans": "a variable of CSS",
    "--help": "argparse",
    "--version": "ours",
}
OPTION = re.compile(r"(?<![\w(-])--[a-z][a-z-]*[a-z](?!\w*:)")
COMMAND = re.compile(r"(?:python -m skinmnist\.|`skinmnist )([a-z]+)([^`<;\"]*)")
#: What stands for a value that is only known at run time; none of them may hide an option.
STANDING_IN = "3"


def literals(path):
    """Yield the messages of a module, docstrings left out, with a value in every gap."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(body[0], ast.Expr):
            left_out.add(body[0].value)
        if isinstance(node, ast.JoinedStr):
            left_out.update(node.values)
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else STANDING_IN for part in node.values
            )


def messages():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for text in literals(path):
            found.setdefault(text, path.relative_to(PACKAGE).as_posix())
    for path in sorted(PACKAGE.rglob("*.html")):
        for text in re.findall(r"<code>([^<]*)</code>", path.read_text(encoding="utf-8")):
            text = re.sub(r"{{.*?}}", STANDING_IN, text)
            found.setdefault(text, path.relative_to(PACKAGE).as_posix())
    return found


@cache
def parser_of(command):
    return importlib.import_module(f"skinmnist.{command}").build_parser()


@cache
def options_of(command):
    return {option for action in parser_of(command)._actions for option in action.option_strings}


MESSAGES = messages()
ADVICE = sorted(text for text in MESSAGES if OPTION.search(text))
ADVISED = sorted(text for text in MESSAGES if COMMAND.search(text))


def test_there_is_advice_to_look_at():
    assert len(ADVICE) > 80
    assert len(ADVISED) > 12


@pytest.mark.parametrize("text", ADVICE, ids=[f"{MESSAGES[text]}: {text[:40]}" for text in ADVICE])
def test_every_option_that_a_message_names_is_one(text):
    known = set(FOREIGN).union(*(options_of(command) for command in COMMANDS if command != "doctor"))
    assert set(OPTION.findall(text)) <= known


@pytest.mark.parametrize("text", ADVISED, ids=[f"{MESSAGES[text]}: {text[:40]}" for text in ADVISED])
def test_every_command_that_a_message_names_can_be_typed(text):
    for command, rest in COMMAND.findall(text):
        if command == STANDING_IN:  # It is the user's own, typed again.
            continue
        assert command in COMMANDS
        arguments = shlex.split(rest.replace("...", ""))
        assert {word for word in arguments if word.startswith("--")} <= options_of(command)
        if arguments and arguments != ["--help"]:
            parser_of(command).parse_args(arguments)


# Advice that is followed


@pytest.fixture
def table(tmp_path, monkeypatch, lesions, no_page):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "cache"))
    rows = np.column_stack([lesions.pixels, lesions.labels])
    header = ",".join([*(f"pixel{column}" for column in range(192)), "label"])
    np.savetxt("my table.csv", rows, fmt="%d", delimiter=",", header=header, comments="")
    return "my table.csv"


CHEAP = ["--models", "dummy", "--samplers", "none", "--jobs", "1"]


def typed(printed, start):
    """Return the arguments of a command that was printed, as a shell takes them apart."""
    line = next(line for line in printed.splitlines() if start in line)
    return shlex.split(line[line.index(start) + len(start) :])


@pytest.mark.parametrize("option", [["--split", "holdout"], ["--folds", "2"]])
def test_a_run_can_be_typed_again_with_fresh_in_place_of_an_option(option, table, capsys):
    assert compare.main([table, *CHEAP, *option]) == 0
    assert compare.main([table, *CHEAP, "--folds", "4"]) == 2
    assert "--fresh" in capsys.readouterr().err
    assert compare.main([table, *CHEAP, "--folds", "4", "--fresh"]) == 0


def test_after_a_quick_look_the_command_without_quick_runs_beside_it(table, capsys):
    assert compare.main([table, *CHEAP, "--quick"]) == 0
    printed = capsys.readouterr().out
    assert "run the command again without --quick." in printed
    assert "my table-0-quick/report.html" in printed
    assert compare.main([table, *CHEAP]) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["my table-0", "my table-0-quick"]


def test_after_a_quick_look_in_a_named_folder_another_one_is_to_be_named(table, capsys):
    assert compare.main([table, *CHEAP, "--quick", "--out", "mine"]) == 0
    assert "again without --quick and name another folder with --out" in capsys.readouterr().out
    assert compare.main([table, *CHEAP, "--out", "whole"]) == 0


def test_the_names_of_seven_classes_can_be_given_as_advised(table, capsys):
    arguments = [table, *CHEAP, "--folds", "2"]
    assert compare.main(arguments) == 0
    shown = capsys.readouterr()
    advice = re.sub(r"\s+", " ", shown.err + shown.out)
    line = re.search(r"python -m skinmnist\.compare ([^:]*? --fresh)", advice)
    assert line
    assert compare.main(shlex.split(line[1])) == 0


@pytest.mark.parametrize("name", ["mein modell.skm", "it's.skm", "a$b;c.skm"])
def test_the_command_that_uses_a_model_can_be_pasted(name, table, capsys):
    assert train.main([table, "--model", "dummy", "--out", name]) == 0
    arguments = typed(capsys.readouterr().out, "python -m skinmnist.predict ")
    Image.fromarray(np.full((9, 9, 3), 120, np.uint8)).save("picture one.png")
    assert arguments[-1] == "IMAGE..."
    assert predict.main([*arguments[:-1], "picture one.png"]) == 0


def test_pictures_of_other_types_are_named_and_leave_with_1(table, capsys):
    assert train.main([table, "--model", "dummy", "--out", "m.skm"]) == 0
    Path("pictures").mkdir()
    Image.fromarray(np.full((9, 9, 3), 120, np.uint8)).save("pictures/a.png")
    assert predict.main(["m.skm", "pictures"]) == 0
    for name in ("b.tif", "c.HEIC"):
        (Path("pictures") / name).write_bytes(b"II*\0")
    capsys.readouterr()
    assert predict.main(["m.skm", "pictures"]) == 1
    shown = capsys.readouterr()
    assert "a.png" in shown.out
    assert "left out 2 pictures of other types (pictures/b.tif, pictures/c.HEIC)" in shown.err
    assert predict.main(["m.skm", "pictures/*"]) == 1
