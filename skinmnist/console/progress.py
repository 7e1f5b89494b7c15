"""Terminal output: bars, spinners, and the live view of a run."""

from __future__ import annotations

import html
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from skinmnist.names import pair_name
from skinmnist.text import printable

if TYPE_CHECKING:
    from skinmnist.experiment.cells import Cell, CellFailure, CellResult
    from skinmnist.experiment.run_folder.record import RunRecord

#: Without a terminal, a build prints one line for every tenth of the pictures.
_LINES = 10
#: Rows in the live view of a run: running cells, and pairs of the current leaderboard.
_RUNNING_ROWS, _BOARD_ROWS = 6, 5
#: Width of a pair in the live view, in characters.
PAIR_WIDTH = 44
#: Seconds past the estimate before the view reports a delay.
_OVERDUE = 2.0


class Output(Console):
    """A console that prints all text verbatim: no markup, no emoji codes, no escape sequences.

    If the reader closes the pipe early, the run continues.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print texts, made printable, and any rich renderables."""
        super().print(*(printable(one) if isinstance(one, str) else one for one in objects), **options)

    @property
    def is_live(self) -> bool:
        """Whether output on this console can be redrawn."""
        return self.is_terminal and not self.is_dumb_terminal

    @property
    def has_colors(self) -> bool:
        """Whether colours are enabled: not in a pipe and not with ``NO_COLOR``."""
        return self.color_system is not None and not self.no_color

    def on_broken_pipe(self) -> None:
        """Discard the remaining output."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class LiveBar:
    """A bar on standard error for the duration of the block; shown only on a terminal."""

    def __init__(self, *columns: ProgressColumn) -> None:
        self.console = Output(stderr=True, soft_wrap=not sys.stderr.isatty())
        description = TextColumn("{task.description}", markup=False)
        hidden = not self.console.is_terminal
        self._bar = Progress(description, BarColumn(), *columns, console=self.console, disable=hidden)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bar.stop()


class DownloadTerminal(LiveBar):
    """A live bar for each file on a terminal; no output elsewhere."""

    def __init__(self) -> None:
        super().__init__(DownloadColumn(), TimeRemainingColumn())

    def progress_of(self, name: str) -> Callable[[int, int | None], None]:
        """Return a callable that receives the number of bytes downloaded so far and the total of one file."""
        task = self._bar.add_task(printable(name), total=None)
        return lambda length, total: self._bar.update(task, completed=length, total=total)


class BuildTerminal(LiveBar):
    """A live bar on a terminal and plain lines elsewhere; the `Progress` of a build."""

    def __init__(self) -> None:
        super().__init__(MofNCompleteColumn(), TimeRemainingColumn())
        self._task = self._bar.add_task("pictures", total=None)
        self._total = self._printed = 0

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        super().__exit__(kind)
        if kind is KeyboardInterrupt:
            self.console.print("Interrupted; read pictures are kept. To resume, run the same command again.")

    def started(self, total: int, stored: int) -> None:
        """Show the number of pictures."""
        self._total, self._printed = total, stored
        if stored:
            self.console.print(f"{stored:,} of them were read before")
        self._bar.update(self._task, total=total, completed=stored)

    def advanced(self, done: int) -> None:
        """Show the number of finished pictures."""
        self._bar.update(self._task, completed=done)
        if not self.console.is_terminal and (done - self._printed) * _LINES >= self._total:
            self._printed = done
            self.console.print(f"[{done}/{self._total}] pictures read")


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show the current activity and its elapsed time, on a terminal only."""
    console, started = Output(stderr=True), time.monotonic()
    spinner = Spinner("dots")

    def view() -> RenderableType:
        spinner.update(text=Text(f"{what}  {whole_seconds(time.monotonic() - started)}"))
        return spinner

    if not console.is_live:
        yield
        return
    with Live(console=console, get_renderable=view, transient=True, refresh_per_second=8):
        yield


def whole_seconds(seconds: float) -> str:
    """Format a running time: ``8 s``, ``1 min 12 s``, ``2 h 05 min``."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
    )


class RunView:
    """The live view of a run: its cells, the time left, the current leaderboard, and the subsequent steps.

    It is a rich renderable. Every redraw reads the clock, so times advance between events.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, since: float | None = None) -> None:
        self.clock = clock
        self.total = self.done = self.new = 0
        self._planned: dict[tuple[str, str], int] = {}
        self._scores: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        self._started: dict[Cell, float] = {}
        self._repeats = False
        self._phase, self._since = "", clock() if since is None else since
        self._deadline: float | None = None
        self._spinner = Spinner("dots")

    def plan(self, total: int, stored: int, cells: Sequence[Cell] = ()) -> None:
        """Start a run of cells, some of them `stored`; without `cells`, no leaderboard is shown."""
        self.total, self.done, self.new = total, stored, 0
        self._planned = {}
        for cell in cells:
            self._planned[cell[:2]] = self._planned.get(cell[:2], 0) + 1
        self._repeats = any(cell.repeat for cell in cells)
        self._started, self._deadline = {}, None
        self.enter("")

    def enter(self, phase: str) -> None:
        """Show the current phase; an empty name means that cells are running."""
        self._phase, self._since = phase, self.clock()

    def running(self, cells: Iterable[Cell]) -> None:
        """Show these cells as running; cells that were already running keep their start times."""
        now = self.clock()
        self._started = {cell: self._started.get(cell, now) for cell in cells}

    def score(self, cell: Cell, macro_f1: float, balanced_accuracy: float) -> None:
        """Add a finished cell to the leaderboard."""
        self._scores[cell[:2]].append((macro_f1, balanced_accuracy))

    def finished(self, cell: Cell, seconds_left: float | None) -> None:
        """Count a finished cell; without an estimate of the time left, extrapolate from finished cells."""
        self._started.pop(cell, None)
        self.done, self.new = self.done + 1, self.new + 1
        now, left = self.clock(), self.total - self.done
        if seconds_left is None:
            seconds_left = (now - self._since) * left / self.new
        self._deadline = now + seconds_left

    @property
    def left(self) -> str:
        """The time left, in words; empty when the run is finished."""
        if self.done >= self.total:
            return ""
        if self._deadline is None:
            return "estimating the time left"
        seconds = self._deadline - self.clock()
        if seconds < -_OVERDUE:
            return "taking longer than expected"
        return f"about {whole_seconds(max(1.0, seconds + 0.5))} left"

    def __rich__(self) -> RenderableType:
        parts = [self._progress()]
        if self._started and not self._phase:
            parts.append(self._cells())
        if self._planned and self._scores:
            parts.append(self._board())
        return Group(*parts)

    def _progress(self) -> RenderableType:
        passed = whole_seconds(self.clock() - self._since)
        if self._phase or not self.total:
            self._spinner.update(text=Text.assemble((f"{self._phase or 'starting'}  ", "bold"), passed))
            return self._spinner
        line = Table.grid(padding=(0, 2))
        line.add_column()
        for _ in range(3):
            line.add_column(no_wrap=True)
        bar = ProgressBar(self.total, self.done, width=20)
        line.add_row(bar, f"{self.done} of {self.total} cells", passed, Text(self.left, "cyan"))
        return line

    def _cells(self) -> RenderableType:
        now, table = self.clock(), plain_rows("running", "", "")
        shown = list(self._started.items())[:_RUNNING_ROWS]
        for cell, started in shown:
            place = f"repeat {cell.repeat}, fold {cell.fold}" if self._repeats else f"fold {cell.fold}"
            name = pair_name(cell[:2], PAIR_WIDTH)
            table.add_row(name, place, whole_seconds(now - started))
        if more := len(self._started) - len(shown):
            table.add_row(f"and {more} more", style="dim")
        return table

    def _board(self) -> RenderableType:
        table = plain_rows("best so far", "macro-F1", "balanced accuracy", "folds")
        means = {}
        for pair, scores in list(self._scores.items()):  # Copy, because drawing runs in another thread.
            means[pair] = [sum(values) / len(values) for values in zip(*scores, strict=True)]
        best = sorted(means, key=lambda pair: -means[pair][0])
        for pair in best[:_BOARD_ROWS]:
            folds = f"{len(self._scores[pair])} of {self._planned.get(pair, 0)}"
            table.add_row(pair_name(pair, PAIR_WIDTH), *(f"{mean:.3f}" for mean in means[pair]), folds)
        if len(best) > _BOARD_ROWS:
            table.add_row(f"and {len(best) - _BOARD_ROWS} more", style="dim")
        return table


def plain_rows(first: str, *others: str) -> Table:
    """Return a table without lines, whose other columns are numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(first, no_wrap=True, min_width=PAIR_WIDTH // 2)
    for other in others:
        table.add_column(other, justify="right", no_wrap=True)
    return table


def in_notebook() -> bool:
    """Return whether this process displays its output in a notebook."""
    python = sys.modules.get("IPython")
    shell = None if python is None else python.get_ipython()
    return hasattr(shell, "kernel")


class NotebookBar:
    """A progress bar in the output of a notebook cell, without widgets; the `Progress` of a comparison."""

    def __init__(self) -> None:
        self._view, self._started, self._failed = RunView(), time.monotonic(), 0
        self._running = ""
        self._shown: Any = None

    def found(self, result: CellResult) -> None:
        """Ignore a stored cell: the plan already counts it."""

    def planned(self, cells: Sequence[Cell], stored: int, notes: Sequence[str]) -> None:
        """Show the number of cells and the notes on omitted ones."""
        self._view.plan(len(cells), stored)
        for note in notes:
            self._display(f"<p>Note: {html.escape(printable(note))}</p>")
        self._shown = self._display(self._bar())

    def waiting(self, folder: Path) -> None:
        """Show a message that the run is waiting for its folder."""
        self._display(f"<p>Another run uses {html.escape(printable(folder))}: waiting for it to end</p>")

    def running(self, cells: Sequence[Cell]) -> None:
        """Show the name of the first running cell."""
        self._running = f"{cells[0]}" + ", ..." * (len(cells) > 1) if cells else ""
        self._update(self._bar())

    def finished(self, outcome: CellResult | CellFailure, seconds_left: float | None) -> None:
        """Show one more finished cell."""
        from skinmnist.experiment.cells import CellFailure

        self._failed += isinstance(outcome, CellFailure)
        self._view.finished(outcome.cell, seconds_left)
        self._update(self._bar())

    def ranked(self, record: RunRecord, finished: int, planned: int) -> None:
        """Ignore results so far: the cell's own output is the leaderboard of the whole run."""

    def _bar(self) -> str:
        done, total = self._view.done, self._view.total
        words = [self._view.left, self._running]
        if done == total:
            words = [f"done in {whole_seconds(time.monotonic() - self._started)}"]
        failed = f", {self._failed} failed" if self._failed else ""
        said = html.escape(printable("; ".join(filter(None, words))))
        return (
            f"<progress value='{done}' max='{total}' style='width:16em'></progress> "
            f"{done} of {total} cells{failed}: {said}"
        )

    def _display(self, content: str) -> Any:
        from IPython.display import HTML, display

        return display(HTML(content), display_id=True)

    def _update(self, content: str) -> None:
        from IPython.display import HTML

        self._shown.update(HTML(content))
