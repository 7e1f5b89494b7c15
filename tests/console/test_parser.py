"""Usage, help and errors of every command."""

import importlib
import os
import subprocess
import sys

import pytest

from skinmnist.__main__ import COMMANDS
from skinmnist.console.common import program
from skinmnist.console.parser import command_parser


def parser_of(command):
    return importlib.import_module(f"skinmnist.{command}").build_parser()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("script", "form"),
    [("/bin/skinmnist", "skinmnist {}"), ("/lib/skinmnist/{}.py", "python -m skinmnist.{}")],
)
def test_usage_says_what_was_typed(command, script, form, monkeypatch):
    monkeypatch.setattr(sys, "argv", [script.format(command)])
    assert program(command) == form.format(command)
    assert parser_of(command).format_usage().startswith(f"usage: {form.format(command)}")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_that_parse(command, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["skinmnist"])
    parser = parser_of(command)
    lines = parser.format_help().partition("examples:\n")[2].partition("\n\n")[0].splitlines()
    assert lines
    for line in lines:
        start = f"  skinmnist {command}"
        assert line.startswith(start)
        parser.parse_args(line.removeprefix(start).split())


@pytest.mark.parametrize("command", ["compare", "train", "preset"])
def test_help_is_in_groups(command):
    actions = [parser_of(command)]
    if command == "preset":
        actions = [*actions[0]._subparsers._group_actions[0].choices.values()]
    for parser in actions:
        shown = parser.format_help()
        assert "\ndata:\n" in shown
        assert command == "preset" or "\noutput:\n" in shown


@pytest.fixture
def parser():
    made = command_parser("demo", "A demonstration.", ("--folds 5",))
    made.add_argument("--folds", type=int)
    made.add_argument("--speed", type=float)
    made.add_argument("--split", choices=("lesion", "image"))
    made.add_argument("--names", nargs="+", metavar="NAME")
    made.add_argument("--quick", action="store_true")
    return made


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("--fold 5", "unknown option '--fold'; did you mean '--folds'? (`{} --help` shows all)"),
        ("--quikc", "unknown option '--quikc'; did you mean '--quick'? (`{} --help` shows all)"),
        ("--zzzzz=3", "unknown option '--zzzzz' (`{} --help` shows all)"),
        ("--folds x", "--folds takes a whole number, received 'x'"),
        ("--speed fast", "--speed takes a number, received 'fast'"),
        (
            "--split lesoin",
            "unknown value 'lesoin' of --split; did you mean 'lesion'? (expected one of lesion, image)",
        ),
        ("--names", "--names needs a value, as in --names NAME; see `{} --help`"),
        ("--quick=yes", "--quick takes no value, received 'yes'; write --quick alone"),
        ("stray", "received 'stray', which belongs to no option; see `{} --help`"),
    ],
)
def test_a_slip_is_one_sentence_that_mends_it(typed, sentence, parser, capsys):
    with pytest.raises(SystemExit) as leaving:
        parser.parse_args(typed.split())
    assert leaving.value.code == 2
    assert capsys.readouterr().err == f"skinmnist: {sentence.format('python -m skinmnist.demo')}\n"


def test_a_shell_completes_commands_options_and_names(tmp_path):
    completed = {}
    for line in ("skinmnist com", "skinmnist preset run --see", "skinmnist compare --samplers SMOTEE"):
        asking = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "answer")}
        asking |= {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "|"}
        subprocess.run([sys.executable, "-m", "skinmnist"], env=os.environ | asking, check=True)
        completed[line.split()[-1]] = (tmp_path / "answer").read_text().strip()
    assert completed == {"com": "compare", "--see": "--seed", "SMOTEE": "SMOTEENN"}
