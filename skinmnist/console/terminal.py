"""The terminal of a comparison: progress, results, and the log for ``--verbose``."""

from __future__ import annotations

import logging
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self

from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from skinmnist import facts
from skinmnist.analysis.analyze import Analysis, analyze_run
from skinmnist.analysis.effects import effects
from skinmnist.console.common import COMMAND
from skinmnist.console.progress import Output, RunView
from skinmnist.console.results import BELOW, FAILED, results_table
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Cell, CellFailure, CellResult
from skinmnist.experiment.execution.machine import available_cores
from skinmnist.experiment.given_splits import GivenInfo
from skinmnist.experiment.metrics import balanced_accuracy, confusion_matrix, macro_f1
from skinmnist.experiment.run_folder.folder import LOGGER, event_facts
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.experiment.splits import GivenFolds, Split
from skinmnist.names import pair_name
from skinmnist.reporting.format import count, duration
from skinmnist.reporting.page import write_page
from skinmnist.reporting.sections.certainty import certainty
from skinmnist.reporting.sections.effects import summary
from skinmnist.reporting.sections.leaderboard import external_sentence
from skinmnist.text import printable

#: Line width without a terminal.
_PIPED_WIDTH = 160
#: Styles of the severities of checks.
_SEVERITIES = {"error": FAILED, "warning": BELOW}


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
        """Show the running cells."""
        self.view.running(cells)

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
        self.enter("analysis", "Analyzing the predictions")
        analysis = analyze_run(record)
        self.enter("report", "Writing the report")
        if analysis.of_external is not None:
            write_page(analysis.of_external, jobs=jobs or available_cores())
        return analysis, write_page(analysis, jobs=jobs or available_cores())

    def conclude(self, analysis: Analysis, report: Path, resume: str | None) -> None:
        """Show the leaderboard, the verdict of the tests, failures, pitfalls, and the path of the report."""
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
