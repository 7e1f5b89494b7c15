"""Cells side by side in worker processes of one thread each; a cell that fails, fails alone."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Protocol

from joblib.externals.loky import get_reusable_executor

from skinmnist.datasets.mapped import pass_table
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Cell, CellFailure, CellResult
from skinmnist.experiment.execution.limits import NO_LIMITS, Limits, Watch
from skinmnist.experiment.execution.log import tell
from skinmnist.experiment.execution.processes import ONE_THREAD, start_worker
from skinmnist.experiment.execution.scratch import TABLE_FILE, scratch_folder
from skinmnist.experiment.execution.worker import work_from_file
from skinmnist.experiment.fit_cell import Task

_IDLE_SECONDS = 60
#: Seconds to wait until a cell has reached the workers, who may be busy.
_HANDED_OVER = 10.0

Outcome = CellResult | CellFailure


class Pool(Protocol):
    """Processes that run cells, here or elsewhere.

    Attributes
    ----------
    last_words : str
        Why the last cell that had no outcome has none.
    """

    last_words: str

    def run(self, cells: Sequence[Cell]) -> Generator[Outcome]:
        """Yield outcomes as they come; it may stop before all are there, where a worker dies."""

    def suspects(self, left: Sequence[Cell]) -> Sequence[Cell]:
        """Return those of the cells without outcome that may have killed their worker."""


class Onlooker(Protocol):
    """Whoever looks at running cells again and again.

    Attributes
    ----------
    interval : float or None
        Seconds between two looks; None: nobody needs to look.
    """

    @property
    def interval(self) -> float | None:
        """Return the attribute."""

    def finished(self, cell: Cell) -> None:
        """Look no more at a cell that has its outcome."""

    def look(self) -> None:
        """Look at what is running."""


def run_cells(
    cells: Sequence[Cell], table: PixelTable, task: Task, jobs: int, limits: Limits = NO_LIMITS
) -> Generator[Outcome]:
    """Run cells in the order given and yield what becomes of each, as it is done.

    A cell that raises, or that is ended beyond its limits, becomes a `CellFailure`.

    Parameters
    ----------
    cells : sequence of Cell
    table : PixelTable
        Written to a temporary file once, where it stands in none; the workers map it into their memory.
    task : Task
    jobs : int
        Worker processes.
    limits : Limits
        What each cell may take.
    """
    if not cells:
        return
    with scratch_folder() as folder:
        path = folder / TABLE_FILE
        pass_table(table, path)
        with closing(finish_cells(LocalPool(path, task, jobs, limits), cells)) as outcomes:
            yield from outcomes


def finish_cells(pool: Pool, cells: Sequence[Cell]) -> Generator[Outcome]:
    """Run cells until each has its outcome, whatever dies on the way.

    Where a worker process dies, the cells that it may have been working on are run again one at a time, so
    that the one that kills its process is found, and the rest go on.
    """
    left = list(cells)
    while left:
        with closing(pool.run(tuple(left))) as outcomes:
            for outcome in outcomes:
                left.remove(outcome.cell)
                yield outcome
        # Only a dead worker leaves cells behind.
        suspects = pool.suspects(tuple(left)) if left else ()
        if suspects:
            tell("worker died", words=pool.last_words, again=[str(cell) for cell in suspects])
        for cell in suspects:
            with closing(pool.run((cell,))) as outcomes:
                alone = next(outcomes, None)
            left.remove(cell)
            yield alone or CellFailure(cell, pool.last_words)


class LocalPool:
    """Worker processes on this machine, the `Pool` of ``--jobs``.

    Parameters
    ----------
    path : Path
        The table, as `pass_table` wrote it; notes of running cells are left beside it.
    task : Task
    jobs : int
    limits : Limits
    """

    def __init__(self, path: Path, task: Task, jobs: int, limits: Limits) -> None:
        self.path, self.task, self.jobs = path, task, jobs
        self.last_words = ""
        self._seconds = limits.seconds
        self._watch = Watch(limits, path.parent)
        self._suspects: list[Cell] | None = None

    def run(self, cells: Sequence[Cell]) -> Generator[Outcome]:
        """Yield outcomes until all are there, or until a worker dies, which ends the others."""
        # Workers outlive a run for a while: the next one in this process finds their libraries imported.
        libraries = sorted({self.task.models[cell.model].library for cell in cells} - {""})
        executor = get_reusable_executor(
            max_workers=min(self.jobs, len(cells)),
            timeout=_IDLE_SECONDS,
            initializer=start_worker,
            initargs=(libraries, os.getpid()),
            env=ONE_THREAD,
        )
        left = list(cells)
        try:
            for outcome in outcomes_of(executor, cells, self._submit, lambda: 2 * self.jobs, self._watch):
                left.remove(outcome.cell)
                yield outcome
        except BrokenProcessPool as error:
            self.last_words = _last_words(error)
        finally:
            if left:
                _stop(executor)
            self._suspects = self._watch.running() or None
            self._watch.forget()
        ended = [CellFailure(cell, self._watch.ended[cell]) for cell in left if cell in self._watch.ended]
        if ended:
            self._watch.ended.clear()
            self._suspects = []  # It is known who did it.
        yield from ended

    def suspects(self, left: Sequence[Cell]) -> Sequence[Cell]:
        """Return the cells that were running; where that is unknown, those that had been handed over."""
        return left[: 2 * self.jobs] if self._suspects is None else self._suspects

    def _submit(self, executor: Executor, cell: Cell) -> Future[Outcome]:
        note = self._watch.expect(cell)
        return executor.submit(work_from_file, cell, str(self.path), self.task, note, self._seconds)


def _stop(executor: Executor) -> None:
    """End an executor's workers, whatever they are doing.

    Not before all that was handed over has left the parent, in the order in which it came: loky's own thread
    looks for what has not, among what it has thrown away by then, and prints a KeyError.
    """
    with suppress(RuntimeError):  # Broken, or stopped already: nothing is on its way.
        last = executor.submit(os.getpid)
        deadline = time.monotonic() + _HANDED_OVER
        while not (last.running() or last.done()) and time.monotonic() < deadline:
            time.sleep(0.005)
    executor.shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]


def outcomes_of(
    executor: Executor,
    cells: Sequence[Cell],
    submit: Callable[[Executor, Cell], Future[Outcome]],
    ahead: Callable[[], int],
    watch: Onlooker | None = None,
    lost: tuple[type[Exception], ...] = (),
) -> Iterator[Outcome]:
    """Submit cells to any executor, a few at a time, and yield outcomes as they come.

    Parameters
    ----------
    executor : Executor
    cells : sequence of Cell
    submit : callable
        Hands a cell to the executor.
    ahead : callable
        Tells how many cells to hand over ahead of time. Few: an executor that is stopped has little to give
        back.
    watch : Onlooker, optional
        Looks at the running cells again and again.
    lost : tuple of exceptions
        Those that tell that a cell's worker died, not that the cell failed: such a cell has no outcome.

    Raises
    ------
    BrokenProcessPool
        Where a worker died and the executor with it.
    """
    waiting, running = iter(cells), dict[Future[Outcome], Cell]()
    with warnings.catch_warnings():
        # loky replaces a worker whose memory has grown; that is how it should be, and no news.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
        while True:
            for cell in islice(waiting, max(0, ahead() - len(running))):
                running[submit(executor, cell)] = cell
            if not running:
                return
            done, _ = wait(running, timeout=watch.interval if watch else None, return_when=FIRST_COMPLETED)
            broken: BrokenProcessPool | None = None
            for future in done:
                cell = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool as error:
                    broken = error
                    continue
                except lost:
                    continue
                except Exception as error:  # What a model left in its answer can be unfit to be sent.
                    outcome = CellFailure.from_error(cell, error)
                if watch:
                    watch.finished(cell)
                yield outcome
            if broken is not None:
                raise broken
            if watch:
                watch.look()


def _last_words(error: BrokenProcessPool) -> str:
    """Say what is known of a worker's end, such as the signal that ended it."""
    codes = re.search(r"exit codes of the workers are \{(.*)\}", str(error))
    how = f" ({codes[1]})" if codes and codes[1] else ""
    return f"its worker process died{how}: a crash, or out of memory"
