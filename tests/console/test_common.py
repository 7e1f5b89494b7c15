"""What the commands share: usage, help, completion, and errors in one sentence."""

import importlib
import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinmnist import compare, facts, train
from skinmnist.__main__ import COMMANDS
from skinmnist.console.common import command_parser, guarded, program
from skinmnist.datasets.files import write_atomically
from skinmnist.errors import InputError

_IS_A_FILE = "same.csv is a file; expected a folder, so name another one"
_NO_FOLDER = "the folder none does not exist; check its name, or create it"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("received x; expected y"), 2, "skinmnist: received x; expected y\n"),
        (OSError(28, "No space left on device", "scores.csv"), 2, "No space left on device (scores.csv)"),
        (KeyboardInterrupt(), 130, "skinmnist: interrupted\n"),
    ],
)
def test_what_ends_a_command_is_one_sentence_and_a_code(error, code, said, capsys):
    def work():
        raise error

    assert guarded(work) == code
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda: Path("same.csv").mkdir(), _IS_A_FILE),
        (lambda: Path("same.csv/a/b").mkdir(), _IS_A_FILE),
        (lambda: Path("same.csv/x").read_bytes(), _IS_A_FILE),
        (lambda: Path("none/x").read_bytes(), _NO_FOLDER),
        (lambda: write_atomically(Path("none/x"), b""), _NO_FOLDER),
        (lambda: Path("same.csv").rename("none/x"), _NO_FOLDER),
        (lambda: Path("none").rename("new"), "none was not found; check its name and folder"),
        (lambda: os.chdir(b"none"), "none was not found; check its name and folder"),
        (lambda: Path("folder").mkdir(), " (folder); fix this and try again"),
    ],
)
def test_errors_of_the_system_are_true_sentences(work, said, place, capsys):
    Path("same.csv").touch()
    Path("folder").mkdir()
    assert guarded(work) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("skinmnist: ")
    assert complaint.endswith(f"{said}\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows names other causes")
@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda: Path("folder").write_bytes(b""), "folder is a folder; expected a file, so name one"),
        (lambda: Path("file").rename("folder"), "folder is a folder; expected a file, so name one"),
        (lambda: Path("link").mkdir(), "File exists (link); fix this and try again"),
        (
            lambda: subprocess.run(["./program"], check=False),
            "program was not found; check its name and folder",
        ),
    ],
)
def test_errors_of_unix_are_true_sentences(work, said, place, capsys):
    Path("file").touch()
    Path("folder").mkdir()
    Path("link").symlink_to("none")
    assert guarded(work) == 2
    assert capsys.readouterr().err == f"skinmnist: {said}\n"


def test_work_that_is_done_gives_its_own_code():
    assert guarded(lambda: 1) == 1


def test_signs_that_a_terminal_does_not_know_are_spelt_out():
    code = """
import sys
from skinmnist.console.common import guarded
from skinmnist.errors import InputError
def talk():
    print("\\u76ae\\u80a4.png")
    raise InputError("received \\u76ae")
raise SystemExit(guarded(talk))
"""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert found.returncode == 2
    assert found.stdout == "\\u76ae\\u80a4.png\n"
    assert found.stderr == "skinmnist: received \\u76ae\n"


def test_a_reader_who_leaves_early_gets_no_complaint():
    code = """
from skinmnist.console.common import guarded
def talk():
    for _ in range(100_000):
        print("a line")
    return 0
raise SystemExit(guarded(talk))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


# Tables that are named, and what is said of them


def written(folder, lesions, order=facts.CLASS_NAMES, change=lambda cells: cells):
    """Write a table, its codes in an order of the names, and metadata of rows that a function may change."""
    names = [f"pixel{column:04d}" for column in range(lesions.pixels.shape[1])]
    dx = [facts.CLASS_NAMES[label] for label in lesions.labels]
    cells = [[*row, order.index(name)] for row, name in zip(lesions.pixels.tolist(), dx, strict=True)]
    (folder / "t.csv").write_text("\n".join(",".join(map(str, row)) for row in [[*names, "label"], *cells]))
    rows = [
        change({"lesion_id": lesion, "image_id": f"I{row}", "dx": name, "age": "50", "sex": "male"})
        for row, (lesion, name) in enumerate(zip(lesions.lesion_ids.tolist(), dx, strict=True))
    ]
    text = "\n".join(",".join(row.values()) for row in rows)
    (folder / "t_metadata.csv").write_text(f"{','.join(rows[0])}\n{text}\n")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SKINMNIST_DATA", raising=False)
    return tmp_path


RUN = ["--models", "dummy", "--samplers", "none", "--folds", "2", "--jobs", "1"]


def notes_of(place, out="runs/t-0"):
    return json.loads((place / out / "run.json").read_text())["notes"]


@pytest.mark.usefixtures("bare_figures")
def test_commands_that_name_the_classes_can_be_pasted(place, lesions, capsys):
    order = sorted(facts.CLASS_NAMES)
    written(place, lesions, order)
    assert compare.main(["t.csv", "--metadata", "none", *RUN]) == 0
    printed = capsys.readouterr()
    advised = [
        line.partition(": python -m ")[2] for line in printed.err.splitlines() if "--classes akiec" in line
    ]
    assert len(advised) == 2
    assert "recall_mel" not in pd.read_csv("runs/t-0/scores.csv")["metric"].tolist()
    module, *arguments = shlex.split(advised[1])
    assert module == "skinmnist.compare"
    assert compare.main(arguments) == 0
    assert json.loads((place / "runs/t-0/run.json").read_text())["table"]["class_names"] == order
    assert "recall_mel" in pd.read_csv("runs/t-0/scores.csv")["metric"].tolist()
    assert notes_of(place) == ["class names come from --classes"]
    assert "class names come from --classes" in (place / "runs/t-0/report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["t.csv", "--size", "8"], "received --size '8'; expected height x width in pixels"),
        (["t.csv", "--size", "9x9"], "t.csv, header (line 1): 192 pixel columns, but --size says 9 x 9"),
        (
            ["t.csv", "--classes", "a", "b"],
            "--classes names 2 classes, but t.csv has 7; expected one name per class",
        ),
        (
            ["--metadata", "none"],
            "received --metadata, but no table was named or found; name its CSV as well",
        ),
        (["--synthetic", "100", "--classes", "a"], "received --classes and --synthetic 100; drop one"),
        (["--synthetic", "100", "--size", "8x8"], "received --size and --synthetic 100; drop one"),
        (["t.csv", "--synthetic", "100"], "received t.csv and --synthetic 100; drop one of them"),
    ],
)
def test_what_cannot_be_said_of_a_table_is_one_sentence(arguments, sentence, place, lesions, capsys):
    written(place, lesions)
    assert compare.main([*arguments, *RUN]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"skinmnist: {sentence}")
    assert complaint.count("\n") == 1


def unknown(*names):
    return lambda cells: {**cells, **dict.fromkeys(names, "unknown")}


@pytest.mark.parametrize(
    ("change", "notes", "columns"),
    [
        (unknown("age", "sex"), ["age is left out: every value is unknown", "no cells with clinical"], ()),
        (
            unknown("age"),
            ["age is left out: every value", "sex is left out: every known value is 'male'"],
            (),
        ),
        (
            lambda cells: {**cells, "sex": ["male", "female"][int(cells["image_id"][1:]) % 2]},
            ["age is left out: every known value is 50.0"],
            ("sex",),
        ),
    ],
)
@pytest.mark.usefixtures("no_page")
def test_clinical_columns_that_say_nothing_plan_no_cells(change, notes, columns, place, lesions, capsys):
    written(place, lesions, change=change)
    assert compare.main(["t.csv", "--clinical", "age", "sex", *RUN]) == 0
    found, printed = notes_of(place), capsys.readouterr().err
    for note in notes:
        assert any(note in sentence for sentence in found)
        assert note in printed.replace("\n", " ")
    models = {cell["model"] for cell in json.loads((place / "runs/t-0/run.json").read_text())["cells"]}
    assert any("+clinical" in name for name in models) == bool(columns)


@pytest.mark.parametrize("fits", [True, False])
@pytest.mark.usefixtures("bare_figures")
def test_ids_that_do_not_fit_the_pictures_are_seen(fits, place, lesions, capsys):
    random, ids = np.random.default_rng(0), lesions.lesion_ids.copy()
    for code in range(7):
        rows = np.flatnonzero(lesions.labels == code)
        ids[rows] = ids[rows if fits else random.permutation(rows)]
    written(place, replace(lesions, lesion_ids=ids))
    assert compare.main(["t.csv", *RUN]) == 0
    fit = json.loads((place / "runs/t-0/run.json").read_text())["lesion_fit"]
    page, warned = (place / "runs/t-0/report.html").read_text(), capsys.readouterr().err
    assert f"{100 * fit['share']:.1f} %" in page
    assert ("doubtful:" in page) is ("do not fit the pictures" in warned) is not fits
    capsys.readouterr()
    assert train.main(["t.csv", "--model", "dummy", "--out", "m.skm"]) == 0
    assert ("do not fit the pictures" in capsys.readouterr().err) is not fits


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
