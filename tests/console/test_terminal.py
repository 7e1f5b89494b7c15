import io
import re

import pytest

from skinmnist import run_comparison
from skinmnist.analysis.analyze import analyze
from skinmnist.console.common import say
from skinmnist.console.progress import Output
from skinmnist.console.terminal import LEAKS, PUBLISHED, Terminal
from skinmnist.experiment.cells import Cell, CellFailure


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_run_is_shown_on_terminals_and_in_logs(lesions, is_terminal, monkeypatch):
    shown = io.StringIO()
    console = Output(file=shown, force_terminal=is_terminal, width=120)
    for name in ("progress", "terminal"):
        monkeypatch.setattr(f"skinmnist.console.{name}.Output", lambda **options: console)
    terminal = Terminal()
    terminal.table(lesions, "image", quick=True)
    with terminal:
        record = run_comparison(lesions, "none", "dummy", folds=2, progress=terminal)
        terminal.finished(CellFailure(Cell("none", "[red]dummy", 0, 0), "no [b]luck"), 100)
    terminal.conclude(analyze(record, draws=10), record.folder / "report.html", resume=None)
    text = re.sub(r"\x1b\[[\d;]*m", "", shown.getvalue())
    for said in (
        "SYNTHETIC TABLE",
        "SPLIT BY PICTURE",
        "QUICK LOOK",
        "2 cells",
        "no [b]luck",
        "always nv",
        "trained without a sampler only",
        "SKM014 warning: The pictures were generated",
        "not a medical device",
    ):
        assert said in text
    assert ("\x1b[" in shown.getvalue()) == is_terminal
    assert ("[1/2] none + dummy, repeat 0, fold" in text) != is_terminal


def test_the_times_that_are_printed_add_up_to_what_the_clock_shows(lesions, tmp_path, monkeypatch, capsys):
    now = 500.0
    terminal = Terminal(since=490.0, clock=lambda: now)
    with terminal:
        terminal.planned([Cell("none", "dummy", 0, 0)], 0, [])
        now += 21.5
        terminal.enter("analysis", "Analyzing the predictions")
        now += 3.25
        terminal.enter("report", "Writing the report")
        now += 65.3
        record = run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=tmp_path / "run")
    terminal.conclude(record.analysis, tmp_path / "report.html", resume=None)
    printed = capsys.readouterr()
    assert "Writing the report (34.8 s)" in printed.err
    assert "took 1 min 40 s: start 10.0 s, cells 21.5 s, analysis 3.2 s, report 1 min 5 s\n" in printed.out


def test_a_terminal_wraps_on_words_and_leaves_commands_whole(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(
        "skinmnist.console.terminal.Output", lambda **_: Output(file=shown, force_terminal=True, width=80)
    )
    command = (
        "skinmnist compare mine.csv --classes akiec bcc bkl df nv vasc mel --samplers SMOTE none --fresh"
    )
    Terminal().note(f"if the codes are HAM10000's classes in the order of the Kaggle tables: {command}")
    Terminal().note(
        "a note without a command that is longer than eighty characters, and so is wrapped on words"
    )
    lines = [line.rstrip() for line in shown.getvalue().splitlines()]
    assert command in lines
    assert lines[0] == "note: if the codes are HAM10000's classes in the order of the Kaggle tables:"
    assert lines[2].endswith("and so is")
    assert lines[3] == "wrapped on words"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_lines_are_wrapped_on_words_on_terminals_only(is_terminal, monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    monkeypatch.setenv("COLUMNS", "40")
    words = "skinmnist: a sentence about a-file-with-a-very-long-name-indeed-it-has.csv and the rest of it"
    command = "To use it: skinmnist predict a-model-of-mine.skm a picture with many words.png"
    say(words, stream)
    say(command, stream)
    lines = stream.getvalue().splitlines()
    assert lines[-1] == command
    assert " ".join(lines[:-1]).split() == words.split()
    assert (len(lines) > 2) == is_terminal


def test_waiting_for_another_run_is_a_time_of_its_own(tmp_path, capsys):
    now = 100.0
    terminal = Terminal(clock=lambda: now)
    now += 2
    terminal.waiting(tmp_path)
    now += 30
    terminal.planned([Cell("none", "dummy", 0, 0)], 0, [])
    now += 5
    terminal.enter("analysis", "Analyzing the predictions")
    assert terminal.times(80) == ["took 37.0 s: start 2.0 s, waiting 30.0 s, cells 5.0 s"]
    assert terminal.times(40) == ["took 37.0 s: start 2.0 s,", "waiting 30.0 s, cells 5.0 s"]


@pytest.mark.parametrize("trials", [LEAKS, PUBLISHED])
def test_cells_beside_a_run_are_announced_and_stay_out_of_its_leaderboard(trials, lesions, capsys):
    now = 0.0
    terminal = Terminal(clock=lambda: now, trials=trials)
    terminal.leaking(2, 0, ["a note"])
    now += 3
    terminal.finished(CellFailure(Cell("none", "dummy", 0, 0), "no luck"), None)
    terminal.enter("analysis", "Analyzing the predictions")
    printed = capsys.readouterr().err
    assert trials.words in printed
    assert "note: a note" in printed
    assert terminal.times(80) == [f"took 3.0 s: start 0.0 s, {trials.phase} 3.0 s"]
