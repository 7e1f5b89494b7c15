"""What a comparison prints; its table of results fits the terminal, and its colours mean something."""

import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from skinmnist import run_comparison
from skinmnist.analysis.analyze import analyze
from skinmnist.analysis.summaries import leaderboard
from skinmnist.console.common import say
from skinmnist.console.progress import Output
from skinmnist.console.terminal import LEAKS, PUBLISHED, Terminal, results_table
from skinmnist.experiment.cells import Cell, CellFailure
from skinmnist.experiment.run_folder.record import build_record


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


PAIR = "RandomOverSampler + logistic_regression"
GREEN, YELLOW, RED = "\x1b[1;32m", "\x1b[33m", "\x1b[1;31m"
WORDS = {
    "Macro-F1",
    "Balanced",
    "accuracy",
    "Accuracy",
    "Macro-AUC",
    "Melanoma",
    "recall",
    "Seconds",
    "per",
    "fold",
}


@pytest.fixture(scope="module")
def record(lesions):
    grid = ["none", "RandomOverSampler"], ["dummy", "logistic_regression"]
    return run_comparison(lesions, *grid, folds=2, jobs=1)


def drawn(record, width, **options):
    shown = io.StringIO()
    console = Output(file=shown, width=width, **options)
    console.print(results_table(record, console))
    return shown.getvalue()


def plain(text):
    return re.sub(r"\x1b\[[\d;]*m", "", text)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_pairs_are_whole_and_words_are_not_broken(record, width):
    text = drawn(record, width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert PAIR in text
    assert "always nv" in text
    assert "Macro-F1" in text
    assert ("±" in text) == (width >= 100)
    assert "…" not in text
    heading = text[text.index("\n") : text.index("─")].replace("Sampler + model", "")
    assert set(heading.split()) <= WORDS


def test_narrow_terminals_show_fewer_metrics_and_say_so(record):
    numbers = {width: drawn(record, width).count("0.") for width in (60, 80, 160)}
    assert numbers[60] < numbers[80] < numbers[160]
    assert "More in the report: Macro-AUC, Seconds per fold" in drawn(record, 80)
    assert "More in the report" not in drawn(record, 160)


def without(record, pair, folds):
    """Return a record in which these folds of a pair have failed."""
    lost = [result.cell for result in record.results if result.cell[:2] == pair and result.cell.fold in folds]
    scores = record.scores
    kept = ~((scores["sampler"] == pair[0]) & (scores["model"] == pair[1]) & scores["fold"].isin(folds))
    return replace(
        record,
        results=tuple(result for result in record.results if result.cell not in lost),
        failures=tuple(CellFailure(cell, "no luck") for cell in lost),
        scores=scores[kept],
    )


def test_colours_mark_the_best_and_what_is_below_the_baseline(record):
    text = drawn(record, 120, force_terminal=True, color_system="standard")
    rows = {plain(line).split("  ")[0].strip(): line for line in text.splitlines()}
    means = leaderboard(record).set_index(["sampler", "model"])["macro_f1"].round(3)
    best = " + ".join(means.idxmax())
    assert f"{GREEN}{means.max():.3f}" in rows[best]
    assert YELLOW in rows["RandomOverSampler + dummy"], "its accuracy is below that of the baseline"
    assert YELLOW not in rows["always nv"]
    assert "best of its column, below always nv" in plain(text)
    assert RED not in text


@pytest.mark.parametrize(("folds", "shown"), [([1], "1 of 2"), ([0, 1], "0 of 2")])
def test_failed_cells_are_red_and_counted(record, folds, shown):
    failed = without(record, ("none", "logistic_regression"), folds)
    text = drawn(failed, 80, force_terminal=True, color_system="standard")
    row = next(line for line in text.splitlines() if "none + logistic_regression" in line)
    assert row.startswith(RED)
    assert shown in row
    assert "cells failed" in plain(text)
    assert shown in drawn(failed, 80), "without colours, too"


def test_there_are_no_colours_in_pipes_and_with_no_color(record, monkeypatch):
    assert "\x1b" not in drawn(record, 160)
    monkeypatch.setenv("NO_COLOR", "1")
    text = drawn(record, 120, force_terminal=True, color_system="standard")
    assert not re.search(r"\x1b\[[\d;]*3[1-7]", text)
    assert "best of its column" not in text


def test_unfinished_pairs_are_neither_failed_nor_below_the_baseline(record):
    pair = ("none", "logistic_regression")
    unfinished = replace(without(record, pair, [1]), failures=())
    text = drawn(unfinished, 80, force_terminal=True, color_system="standard")
    row = next(line for line in text.splitlines() if " + ".join(pair) in line)
    assert "\x1b[36m1 of 2" in row
    assert RED not in text
    assert plain(text).rstrip().endswith("unfinished")


def test_a_first_page_is_written_while_the_run_goes_on(lesions, tmp_path, capsys):
    pairs = ["none"], ["dummy", "logistic_regression"]
    record = run_comparison(lesions, *pairs, folds=2, jobs=1, out=tmp_path / "run")
    cells = [replace(cell, status="done" if cell.fold == 0 else "pending") for cell in record.info.cells]
    info = replace(record.info, cells=tuple(cells), interrupted=True)
    early = build_record(tmp_path / "run", info)
    terminal = Terminal()
    terminal.ranked(early, 1, 2)
    terminal._early.join()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "After 1 of 2 folds." in page
    assert "Unfinished." not in page
    said = capsys.readouterr().err
    assert "After 1 of 2 folds, with intervals over lesions" in said
    for model in pairs[1]:
        assert re.search(rf"none \+ {model} .*\d\.\d{{3}} to \d\.\d{{3}}  1 of 2", said)
    terminal.write_report(record, 1)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "After 1 of 2 folds." not in page
    assert '<section id="checks">' in page
