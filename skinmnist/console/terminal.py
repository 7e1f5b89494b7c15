"""The terminal of a comparison: progress, a table of results that fits it, and the log for ``--verbose``."""

from __future__ import annotations

import logging
import math
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Self

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from skinmnist import facts
from skinmnist.analysis.analyze import Analysis, analyze, analyze_run
from skinmnist.analysis.significance import Pair
from skinmnist.analysis.summaries import LEADERBOARD_METRICS, effects, leaderboard
from skinmnist.console.common import COMMAND
from skinmnist.console.progress import PAIR_WIDTH, Output, RunView, plain_rows
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Cell, CellFailure, CellResult
from skinmnist.experiment.execution.machine import available_cores
from skinmnist.experiment.given_splits import GivenInfo
from skinmnist.experiment.metrics import LOWER_IS_BETTER, balanced_accuracy, confusion_matrix, macro_f1
from skinmnist.experiment.plan import REFRESH_RATIO
from skinmnist.experiment.run_folder.folder import LOGGER, event_facts
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.experiment.splits import GivenFolds, Split
from skinmnist.names import pair_name
from skinmnist.reporting.format import LABELS, NOTHING, count, digits_of, duration, fixed, with_spread
from skinmnist.text import one_line, printable

#: The module that draws the report; it imports matplotlib.
_PAGE = "skinmnist.reporting.page"
#: Line width without a terminal.
_PIPED_WIDTH = 160
#: Styles: best of its column; worse than the majority baseline; unfinished; failed.
BEST, BELOW, UNFINISHED, FAILED = "bold green", "yellow", "cyan", "bold red"
#: Styles of the severities of checks.
_SEVERITIES = {"error": FAILED, "warning": BELOW}
#: Terminal width from which standard deviations are shown.
_SPREAD_WIDTH = 100
#: Largest and smallest width of a pair; longer names are shortened in the middle.
_LONGEST_PAIR, _SHORTEST_PAIR = 120, 16
_PAIR_HEADING = "Sampler + model"
#: Columns that are always shown, and columns that are dropped first if space is short.
_INDISPENSABLE = ("folds", LEADERBOARD_METRICS[0])
_LEFT_OUT_FIRST = ("seconds", "macro_auc", "accuracy")


class Trials(NamedTuple):
    """Additional cells alongside a run: their name in the list of times, and their announcement."""

    phase: str
    words: str


LEAKS = Trials("leaks", "Demonstrating leaks: wrong on purpose, excluded from every table of the run")
PUBLISHED = Trials("as published", "Now as published: beside the honest run, excluded from its tables")


class Terminal:
    """A live view on a terminal and plain lines elsewhere; the `Progress` of a comparison.

    `since` is the start of the command on `clock`; the printed times add up to the time elapsed since then.
    """

    def __init__(
        self,
        since: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
        trials: Trials = LEAKS,
    ) -> None:
        self.console = Output(stderr=True, soft_wrap=not sys.stderr.isatty())
        self._clock, self._trials = clock, trials
        self._started = self._phase_started = clock() if since is None else since
        self.view = RunView(clock, self._started)
        self._phase, self._seconds = "start", dict[str, float]()
        self._live = Live(
            console=self.console, get_renderable=lambda: self.view, transient=True, refresh_per_second=8
        )
        self._demonstrating = False
        self._begun = False
        self._early: threading.Thread | None = None
        self._early_next = -math.inf
        self._cells = 0

    def __enter__(self) -> Self:
        if self.console.is_live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @property
    def begun(self) -> bool:
        """Whether the number of cells is known."""
        return self._begun

    def table(self, table: PixelTable, split: Split | GivenFolds, quick: bool) -> None:
        """Print the table of the comparison, with a warning for synthetic data and for quick looks."""
        lesions = "lesions unknown" if table.n_lesions is None else f"of {table.n_lesions:,} lesions"
        height, width, channels = table.shape
        self.console.print(
            f"{table.name}: {len(table):,} pictures {lesions}, {height} x {width} x {channels}, "
            f"{len(table.class_names)} classes ({table.origin})"
        )
        if table.synthetic:
            self._warn(
                "SYNTHETIC TABLE",
                "These pictures are synthetic: no pixel table was found, or a synthetic one was requested. "
                "The scores say nothing about real skin. For real tables, see `skinmnist download --help`.",
            )
        if isinstance(split, GivenFolds) and split.groups:
            parts = GivenInfo.of_folds(split, table).parts
            named = ", ".join(f"{part.name} {part.pictures:,}" for part in parts)
            self.console.print(f"split {printable(split.origin)}: {named} pictures")
        if split == "image":
            self._warn(
                "SPLIT BY PICTURE",
                "Pictures of one lesion can be in both training and test parts, which usually raises scores.",
            )
        if quick:
            self._warn("QUICK LOOK", "Few rows, few folds and a tiny network. This is not a result.")

    def _warn(self, title: str, text: str) -> None:
        if self.console.is_terminal:
            self.console.print(Panel(text, title=title, border_style="bold yellow"))
        else:
            self.console.print(f"*** {title}: {text}")

    def found(self, result: CellResult) -> None:
        """Add a previously stored cell to the leaderboard."""
        if not self._begun:
            self._score(result)

    def planned(self, cells: Sequence[Cell], stored: int, notes: Sequence[str]) -> None:
        """Show the number of cells of a run, and then of its external test."""
        if self._begun:
            self.console.print("External test: trained on all pictures, tested on the other table")
            self._demonstrating = True
            self.view.plan(len(cells), stored, cells)
            self._begin("external test", len(cells), stored, notes)
            return
        self.view.plan(len(cells), stored, cells)
        self._begin("cells", len(cells), stored, notes)

    def leaking(self, cells: int, stored: int, notes: Sequence[str]) -> None:
        """Announce cells that are not part of the run, and their number."""
        self.console.print(self._trials.words)
        self._demonstrating = True
        self.view.plan(cells, stored)
        self._begin(self._trials.phase, cells, stored, notes)

    def _begin(self, phase: str, cells: int, stored: int, notes: Sequence[str]) -> None:
        self._begun = True
        self._end_phase(phase)
        for note in notes:
            self.note(note)
        again = f", {stored} of them stored before" if stored else ""
        self.console.print(f"{cells} cells{again}")

    def note(self, note: str) -> None:
        """Print a note; on a terminal, a command in it is printed on its own unwrapped line."""
        command = COMMAND.search(note) if self.console.is_terminal else None
        sentence = note[: command.start()].rstrip() if command else note
        self.console.print(f"note: {sentence}")
        if command:
            self.console.print(note[command.start() :], soft_wrap=True)

    def waiting(self, folder: Path) -> None:
        """Print a message that the run is waiting for its folder."""
        self.console.print(f"Another run is using {folder}: waiting for it to end")
        if not self._begun:
            self._end_phase("waiting")
            self.view.enter("Waiting for the other run")

    def running(self, cells: Sequence[Cell]) -> None:
        """Show the running cells; meanwhile, import what draws the report."""
        self.view.running(cells)
        import_module(_PAGE)

    def finished(self, outcome: CellResult | CellFailure, seconds_left: float | None) -> None:
        """Show one more finished cell."""
        self.view.finished(outcome.cell, seconds_left)
        if isinstance(outcome, CellFailure):
            self.console.print(f"failed: {outcome.cell}: {outcome.reason}", style=FAILED)
            return
        if not self._demonstrating:
            self._cells += 1
            self._score(outcome)
        if not self.console.is_live:
            left = self.view.left if seconds_left is not None else ""
            place = f"[{self.view.done}/{self.view.total}] {outcome.cell}"
            self.console.print(f"{place} ({self._passed}{', ' * bool(left)}{left})")

    def ranked(self, record: RunRecord, finished: int, planned: int) -> None:
        """Show the leaderboard so far and write a first page, in a thread, while the next cells run."""
        busy = self._early is not None and self._early.is_alive()
        if not record.results or self._demonstrating or busy or self._clock() < self._early_next:
            return
        self._early = threading.Thread(
            target=self._rank, args=(record, finished, planned), name="early-report", daemon=True
        )
        self._early.start()

    def _rank(self, record: RunRecord, finished: int, planned: int) -> None:
        from skinmnist.reporting.page import write_early_page

        started, after = self._clock(), f"after {finished} of {count(planned, 'fold')}"
        try:
            analysis = analyze(record)
            self.console.print(early_table(analysis, after))
            page = write_early_page(analysis, finished, planned)
            self.console.print(f"first report, {after}: {page}", soft_wrap=True)
        except Exception as error:  # The run goes on without it.
            self.note(f"there is no report {after}: {one_line(str(error))}")
        now = self._clock()
        self._early_next = now + REFRESH_RATIO * (now - started)

    @property
    def _passed(self) -> str:
        return duration(self._clock() - self._started)

    def _score(self, result: CellResult) -> None:
        counts = confusion_matrix(result.labels, result.predicted, result.probabilities.shape[1])
        self.view.score(result.cell, float(macro_f1(counts)), float(balanced_accuracy(counts)))

    def _end_phase(self, following: str) -> None:
        now = self._clock()
        passed = now - self._phase_started
        self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + passed
        self._phase, self._phase_started = following, now

    def enter(self, phase: str, shown: str) -> None:
        """Show a step after the cells: its name in the list of times, and a description."""
        self._end_phase(phase)
        self.view.enter(shown)
        if not self.console.is_live:
            self.console.print(f"{shown} ({self._passed})")

    def scores(self, record: RunRecord) -> None:
        """Show the leaderboard and the failed cells."""
        out = _results_console()
        if record.results:
            out.print(results_table(record, out))
        reasons = Counter((failure.cell[:2], failure.reason) for failure in record.failures)
        for (pair, reason), cells in reasons.items():
            out.print(f"failed: {pair_name(pair)}, {count(cells, 'cell')}: {reason}", style=FAILED)

    def write_report(self, record: RunRecord, jobs: int | None) -> tuple[Analysis, Path]:
        """Analyze a run and write its report, showing each step."""
        from skinmnist.reporting.page import write_page

        jobs = jobs or available_cores()
        if self._early is not None:
            self._early.join()  # The final page must be the last.
        self.enter("analysis", "Analyzing the predictions")
        analysis = analyze_run(record, jobs=jobs)
        self.enter("report", "Writing the report")
        if analysis.of_external is not None:
            write_page(analysis.of_external, jobs=jobs)
        return analysis, write_page(analysis, jobs=jobs)

    def conclude(self, analysis: Analysis, report: Path, resume: str | None) -> None:
        """Show the leaderboard, the verdict of the tests, failures, pitfalls, and the path of the report."""
        from skinmnist.reporting.sections.certainty import certainty
        from skinmnist.reporting.sections.leaderboard import external_sentence
        from skinmnist.reporting.sections.tradeoff import summary

        self._end_phase("end")
        record, out = analysis.record, _results_console()
        out.print()
        self.scores(record)
        out.print()
        unbroken = not out.is_terminal  # A terminal would wrap long lines within words.
        out.print(certainty(analysis).headline, style="bold", soft_wrap=unbroken)
        if external := external_sentence(analysis):
            out.print(printable(external, None), soft_wrap=unbroken)
        for words in summary(effects(analysis.comparisons), "{} with {}".format):
            out.print(printable(words, None), soft_wrap=unbroken)
        out.print()
        for concern in analysis.concerns:
            if concern.check.severity != "note":
                style = _SEVERITIES.get(concern.check.severity, "")
                code = f"{concern.check.code} {concern.check.severity}: "
                out.print(Text.assemble((code, style), printable(concern.sentence, None)), soft_wrap=unbroken)
        info = record.info
        out.print()
        for line in self.times(out.width):
            out.print(line, soft_wrap=True)
        memory = f"{info.peak_memory_mb or 0.0:,.0f} MB ({info.memory_measure})"
        out.print(f"{count(self._cells, 'new cell')}, peak memory {memory}", soft_wrap=unbroken)
        out.print(f"report: {report}", soft_wrap=True)
        if resume:
            out.print(f"Interrupted; finished cells are kept. To resume: {resume}", soft_wrap=True)
        out.print(facts.DISCLAIMER, style="dim", soft_wrap=unbroken)

    def times(self, width: int) -> list[str]:
        """Return the times of all steps, which add up to the total, with line breaks only between steps."""
        parts = [f"{phase} {duration(seconds)}," for phase, seconds in self._seconds.items()]
        parts = [f"took {duration(sum(self._seconds.values()))}:", *parts]
        text = " ".join(part.replace(" ", "\xa0") for part in parts).removesuffix(",")
        return [line.replace("\xa0", " ") for line in textwrap.wrap(text, width)]


def _results_console() -> Output:
    """Return a console with lines as long as the leaderboard needs if there is no terminal."""
    return Output(width=None if sys.stdout.isatty() else _PIPED_WIDTH)


@contextmanager
def verbosely(console: Output, wanted: bool) -> Iterator[None]:
    """Print every log event in the ``with`` block on one line, if requested."""
    handler = _EventLines(console)
    if wanted:
        LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)


class _EventLines(logging.Handler):
    def __init__(self, console: Output) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one event."""
        when = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        facts = " ".join(f"{name}={value}" for name, value in event_facts(record).items() if value != [])
        self.console.print(f"{when} {record.getMessage()}: {facts}")


@dataclass(frozen=True)
class _Column:
    name: str
    heading: str
    cells: list[Text]

    @property
    def width(self) -> int:
        """Width of the column, including the gap before it."""
        texts = [*self.heading.split("\n"), *(cell.plain for cell in self.cells)]
        return 2 + max(map(cell_len, texts))


def results_table(record: RunRecord, console: Output) -> RenderableType:
    """Format the leaderboard of a run to fit a console; omitted columns are listed below the table."""
    rows = [*_rows(record)]
    spread = console.width >= _SPREAD_WIDTH
    columns, left_out = [*_columns(rows, spread)], list[_Column]()
    least = sum(column.width for column in columns if column.name in _INDISPENSABLE)
    longest = min(_LONGEST_PAIR, max(_SHORTEST_PAIR, console.width - least))
    names = [_name(row, longest) for row in rows]
    room = console.width - max(map(cell_len, (*names, _PAIR_HEADING)))
    dispensable = sorted((c for c in columns[::-1] if c.name not in _INDISPENSABLE), key=_dispensable)
    while sum(column.width for column in columns) > room and dispensable:
        left_out.insert(0, dispensable.pop(0))
        columns.remove(left_out[0])
    over = "trainings" if record.info.given and record.info.protocol.planned_folds == 1 else "folds"
    what = f"mean ± standard deviation over {over}" if spread else f"mean over {over}"
    parts: list[RenderableType] = [
        Text(f"{printable(record.info.table.name)}: {what}, best macro-F1 first", "bold"),
        _table(names, rows, columns),
    ]
    if left_out:
        labels = ", ".join(column.heading.replace("\n", " ") for column in left_out)
        parts.append(Text(f"More in the report: {labels}", "dim"))
    if console.has_colors:
        parts.append(_legend(rows, columns))
    return Group(*parts)


def early_table(analysis: Analysis, after: str) -> RenderableType:
    """Format the leaderboard of a run that goes on: macro-F1 of every pair with its interval over lesions."""
    from skinmnist.reporting.sections.certainty import resampled_units

    table = plain_rows("best macro-F1 first", "macro-F1", "95 % interval", "folds")
    known = analysis.intervals[analysis.intervals["metric"] == "macro_f1"]
    names, bounds = known[["sampler", "model"]].to_numpy(), known[["low", "high"]].to_numpy(float)
    ends = {(sampler, model): tuple(pair) for (sampler, model), pair in zip(names, bounds, strict=True)}
    for row in _rows(analysis.record):
        low, high = ends.get((row["sampler"], row["model"]), (math.nan, math.nan))
        interval = NOTHING if math.isnan(low) else f"{fixed(low, 3)} to {fixed(high, 3)}"
        folds = "" if row["reference"] else f"{row['cells']} of {row['planned']}"
        table.add_row(_name(row, PAIR_WIDTH), fixed(row["macro_f1"], 3), interval, folds)
    return Group(
        Text(f"{after}, with intervals over {resampled_units(analysis)}".capitalize(), "bold"), table
    )


def _name(row: dict[Any, Any], longest: int) -> str:
    if row["sampler"]:
        return pair_name((row["sampler"], row["model"]), longest)
    return printable(row["model"], longest)


def _dispensable(column: _Column) -> int:
    return _LEFT_OUT_FIRST.index(column.name) if column.name in _LEFT_OUT_FIRST else len(_LEFT_OUT_FIRST)


def _rows(record: RunRecord) -> Iterator[dict[Any, Any]]:
    """Yield the rows of the leaderboard, followed by the pairs without a finished cell."""
    board = leaderboard(record)
    planned = Counter[Pair]((entry.sampler, entry.model) for entry in record.info.cells)
    failed = Counter[Pair](failure.cell[:2] for failure in record.failures)
    for row in board.to_dict("records"):
        planned.pop(pair := (row["sampler"], row["model"]), None)
        yield row | {"failed": failed[pair]}
    for pair, number in planned.items():
        nothing = dict.fromkeys(board.columns, math.nan)
        counts = {"cells": 0, "planned": number, "failed": failed[pair], "reference": False}
        yield nothing | dict(zip(("sampler", "model"), pair, strict=True)) | counts


def _columns(rows: list[dict[Any, Any]], spread: bool) -> Iterator[_Column]:
    if any(row["cells"] < row["planned"] for row in rows):
        yield _Column("folds", "folds", [_folds(row) for row in rows])
    for name in (name.removesuffix("_sd") for name in rows[0] if name.endswith("_sd")):
        heading = "\n".join(LABELS[name].split())
        digits, sign = digits_of(name), -1 if name in LOWER_IS_BETTER else 1
        texts = [
            with_spread(row[name], row[f"{name}_sd"], digits) if spread else fixed(row[name], digits)
            for row in rows
        ]
        styles = _styles([sign * row[name] for row in rows], [row["reference"] for row in rows])
        yield _Column(name, heading, [*map(Text, texts, styles)])
    seconds = [NOTHING if math.isnan(row["seconds"]) else fixed(row["seconds"], 1) for row in rows]
    yield _Column("seconds", "Seconds\nper fold", [*map(Text, seconds)])


def _folds(row: dict[Any, Any]) -> Text:
    style = FAILED if row["failed"] else UNFINISHED if row["cells"] < row["planned"] else ""
    return Text(f"{row['cells']} of {row['planned']}", style)


def _styles(values: list[float], references: list[bool]) -> list[str]:
    """Return styles that mark the best printed value of a column and values below the majority baseline."""
    rounded = [round(value, 3) for value in values]
    trained = [value for value, reference in zip(rounded, references, strict=True) if not reference]
    trained = [value for value in trained if not math.isnan(value)]
    best = max(trained) if len(trained) > 1 else math.inf
    baseline = max(
        (value for value, reference in zip(rounded, references, strict=True) if reference), default=-math.inf
    )
    return [
        "" if reference else BELOW if value < baseline else BEST if value == best else ""
        for value, reference in zip(rounded, references, strict=True)
    ]


def _table(names: list[str], rows: list[dict[Any, Any]], columns: list[_Column]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column(_PAIR_HEADING, no_wrap=True, vertical="bottom")
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for place, (name, row) in enumerate(zip(names, rows, strict=True)):
        style = FAILED if row["failed"] else ""
        cells = (column.cells[place] for column in columns)
        table.add_row(Text(name, style), *cells, style="dim" if row["reference"] else None)
    return table


def _legend(rows: list[dict[Any, Any]], columns: list[_Column]) -> Text:
    used = {str(cell.style) for column in columns for cell in column.cells}
    baseline = next((row["model"] for row in rows if row["reference"]), "")
    meanings = {
        BEST: "best of its column",
        BELOW: f"below {printable(baseline)}",
        UNFINISHED: "unfinished",
        FAILED: "cells failed",
    }
    known = [Text(words, style) for style, words in meanings.items() if style in used]
    return Text(", ").join(known)
