"""The table of results fits its terminal, and its colours mean something."""

import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from skinmnist import run_comparison
from skinmnist.analysis.summaries import leaderboard
from skinmnist.console.progress import Output
from skinmnist.console.results import results_table
from skinmnist.experiment.cells import CellFailure

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
