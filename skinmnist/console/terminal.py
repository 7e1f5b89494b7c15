"""The terminal of a comparison: its progress, its results, and its log for ``--verbose``."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rich.panel import Panel
from rich.progress import MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from skinmnist import facts
from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.effects import effects
from skinmnist.analysis.summaries import leaderboard
from skinmnist.console.progress import LiveBar, Output
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Cell, CellFailure, CellResult
from skinmnist.experiment.execution.log import LOGGER, event_facts
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.format import duration, fixed, titled, with_spread
from skinmnist.reporting.sections.certainty import certainty
from skinmnist.reporting.sections.effects import summary
from skinmnist.text import printable

#: Characters of a name in a table beyond which its middle is left out.
_LONGEST_CELL = 120


class Terminal(LiveBar):
    """A live display on a terminal, plain lines elsewhere; the `Progress` of a comparison."""

    def __init__(self) -> None:
        super().__init__(MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
        self._task = self._bar.add_task("cells", total=None, left="")
        self._started = time.perf_counter()
        self._total = self._done = 0

    @property
    def begun(self) -> bool:
        """Whether the number of cells is known."""
        return self._total > 0

    def table(self, table: PixelTable, split: str, quick: bool) -> None:
        """Print what is compared on, with a warning where that is no real data or no result."""
        lesions = "lesions unknown" if table.n_lesions is None else f"of {table.n_lesions:,} lesions"
        height, width, channels = table.shape
        self.console.print(
            f"{table.name}: {len(table):,} pictures {lesions}, {height} x {width} x {channels}, "
            f"{len(table.class_names)} classes ({table.origin})"
        )
        if table.synthetic:
            self._warn(
                "SYNTHETIC TABLE",
                "skinmnist drew these pictures: no pixel table was found, or a synthetic one was asked for. "
                "The scores say nothing about real skin. The README shows how to get real tables.",
            )
        if split == "image":
            self._warn(
                "SPLIT BY PICTURE",
                "Pictures of one lesion can be in both training and test parts, which usually raises scores.",
            )
        if quick:
            self._warn("QUICK LOOK", "Few rows, few folds and a tiny network: not a result.")

    def _warn(self, title: str, text: str) -> None:
        if self.console.is_terminal:
            self.console.print(Panel(text, title=title, border_style="bold yellow"))
        else:
            self.console.print(f"*** {title}: {text}")

    def planned(self, cells: Sequence[Cell], stored: int, notes: Sequence[str]) -> None:
        """Show how much there is to do."""
        self._begin(len(cells), stored, notes)

    def _begin(self, cells: int, stored: int, notes: Sequence[str]) -> None:
        self._total, self._done = cells, stored
        for note in notes:
            self.console.print(f"note: {note}")
        again = f", {stored} of them stored before" if stored else ""
        self.console.print(f"{cells} cells{again}")
        self._bar.update(self._task, total=cells, completed=stored, left="")

    def leaking(self, cells: int, stored: int, notes: Sequence[str]) -> None:
        """Announce cells that are wrong on purpose, and their number."""
        self.console.print("Demonstrating leaks: wrong on purpose, and excluded from every table of the run")
        self._bar.reset(self._task)
        self._begin(cells, stored, notes)

    def waiting(self, folder: Path) -> None:
        """Print why nothing happens yet."""
        self.console.print(f"Another run is using {folder}: waiting for it to end")

    def finished(self, outcome: CellResult | CellFailure, seconds_left: float | None) -> None:
        """Show one more cell."""
        self._done += 1
        left = (
            ""
            if seconds_left is None or self._done == self._total
            else f"about {duration(seconds_left)} left"
        )
        if isinstance(outcome, CellFailure):
            self.console.print(f"failed: {outcome.cell}: {outcome.reason}")
        elif not self.console.is_terminal:
            elapsed = duration(time.perf_counter() - self._started)
            self.console.print(
                f"[{self._done}/{self._total}] {outcome.cell} ({elapsed}{', ' * bool(left)}{left})"
            )
        self._bar.update(self._task, completed=self._done, left=left)

    def scores(self, record: RunRecord) -> None:
        """Show the leaderboard, and what failed."""
        out = _results_console()
        if record.results:
            out.print(_as_rich(record))
        for failure in record.failures:
            out.print(f"failed: {failure.cell}: {failure.reason}")

    def conclude(self, analysis: Analysis, report: Path, resume: str | None) -> None:
        """Show the leaderboard, the verdict of the tests, failures, pitfalls, and the report's place."""
        record, out = analysis.record, _results_console()
        self.scores(record)
        out.print(certainty(analysis).headline, style="bold", soft_wrap=True)
        for words in summary(effects(analysis.comparisons), "{} with {}".format):
            out.print(printable(words, None), soft_wrap=True)
        for concern in analysis.concerns:
            if concern.check.severity != "note":
                out.print(
                    f"{concern.check.code} {concern.check.severity}: {concern.sentence}", soft_wrap=True
                )
        info = record.info
        out.print(
            f"{len(record.results)} cells in {duration(info.wall_seconds or 0.0)}, "
            f"peak memory {info.peak_memory_mb or 0.0:,.0f} MB ({info.memory_measure})"
        )
        out.print(f"report: {report}", soft_wrap=True)
        if resume:
            out.print(f"Interrupted; finished cells are kept. To go on: {resume}", soft_wrap=True)
        out.print(facts.DISCLAIMER, style="dim")


def _results_console() -> Output:
    """Without a terminal, lines may be as long as the leaderboard needs."""
    return Output(width=None if sys.stdout.isatty() else 160)


def _as_rich(record: RunRecord) -> Table:
    """Lay the leaderboard out in few columns, the best mean of each in bold."""
    board = titled(record.info, leaderboard(record))
    metrics = [name.removesuffix("_sd") for name in board.columns if name.endswith("_sd")]
    folds = "mean ± standard deviation over folds"
    table = Table(title=f"{printable(record.info.table.name)}: {folds}", title_justify="left")
    table.add_column("sampler")
    table.add_column("model")
    for metric in metrics:
        table.add_column(metric.replace("_", " "), justify="right", no_wrap=True)
    table.add_column("s/cell", justify="right")
    best = {metric: board.loc[~board["reference"], metric].max() for metric in metrics}
    for row in board.to_dict("records"):
        cells = [
            Text(with_spread(row[name], row[f"{name}_sd"]), "bold" if row[name] == best[name] else "")
            for name in metrics
        ]
        style = "dim" if row["reference"] else None
        names = (printable(row[name], _LONGEST_CELL) for name in ("sampler_title", "model"))
        table.add_row(*names, *cells, fixed(row["seconds"], 1), style=style)
    return table


@contextmanager
def verbosely(console: Output, wanted: bool) -> Iterator[None]:
    """Print every event of the ``with`` block as one line, if wanted."""
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
