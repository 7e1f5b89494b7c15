"""Worker processes of this machine: start, keep and end them, and give each of them the cells that suit it.

TensorFlow takes seconds and hundreds of megabytes to import, and networks share compiled functions. Therefore
only some workers import it, in proportion to the cost of the models that need it, and train the networks.
"""

from __future__ import annotations

import math
import os
import re
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from joblib.externals.loky import ProcessPoolExecutor

from skinmnist.datasets.files import naming_disk
from skinmnist.datasets.mapped import pass_table
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Cell, CellFailure, CellResult
from skinmnist.experiment.execution.machine import NO_LIMITS, ONE_THREAD, LimitMonitor, Limits, OnRunning
from skinmnist.experiment.execution.runner import Outcome, Pool, finish_cells, outcomes_of
from skinmnist.experiment.execution.worker import CELLS, run_cell_from_file, start_worker
from skinmnist.experiment.run_folder.folder import TABLE_FILE, scratch_folder
from skinmnist.experiment.splits import LEFT_OUT

if TYPE_CHECKING:
    from skinmnist.experiment.fit_cell import Task
    from skinmnist.models.spec import ModelSpec

T = TypeVar("T")
#: Workers outlive a run for a while, so the next run in this process does not import libraries again.
_IDLE_SECONDS = 60
#: Seconds to wait for a cell to reach its worker, which may be busy.
_HANDED_OVER = 10.0
#: File descriptors of a worker, and of everything else in this process.
_FILES, _FILES_OF_OTHERS = 8, 200
#: Seconds of waiting cells, for each worker that can run them, that justify one more worker with their
#: library: about what its start and its first compilation take.
_WORTH_STARTING = 8.0

_idle: list[Worker] = []
_lock = threading.Lock()


class Worker:
    """A worker process and the module that it imports on its start, ``""`` for none.

    `cells` are those that it has been given and has not finished, in order.
    """

    def __init__(self, library: str) -> None:
        self.library, self.cells = library, list[Cell]()
        self._start()
        self.wake()

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Submit a function; a process that has died or ended since the last one is replaced."""
        try:
            future = self._executor.submit(function, *arguments)
        except RuntimeError:  # The executor is broken, or an interrupt came while it was shut down.
            self._start()
            future = self._executor.submit(function, *arguments)
        self._last = future
        return future

    def wake(self) -> None:
        """Start the process now, unless it runs; an executor by itself would start it with the first cell.

        Ctrl-C reaches the whole process group. It is ignored meanwhile, and the worker inherits this: it
        would print a traceback until `start_worker`.
        """
        main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
        try:
            self.submit(os.getpid)
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)

    def restart(self, library: str) -> None:
        """Replace the process by one that imports another module."""
        self.end()
        self.library = library
        self._start()
        self.wake()

    def end(self) -> None:
        """Kill the process.

        All submitted work must first have left this process, in order; otherwise, loky's own thread would
        look for the rest among discarded items and print a KeyError.
        """
        deadline = time.monotonic() + _HANDED_OVER
        try:
            while not (self._last.running() or self._last.done()) and time.monotonic() < deadline:
                time.sleep(0.005)
        finally:  # Also after another Ctrl-C: nothing else would end the process before its cell does.
            self._executor.shutdown(wait=True, kill_workers=True)

    def _start(self) -> None:
        self._executor = ProcessPoolExecutor(
            1,
            timeout=_IDLE_SECONDS,
            initializer=start_worker,
            initargs=(self.library, os.getpid()),
            env=ONE_THREAD,
        )


def choose_libraries(models: Iterable[ModelSpec], jobs: int) -> list[str]:
    """Return the library of each of `jobs` workers.

    Each library gets workers in proportion to the seconds of its models, rounded down, but at least one.
    """
    seconds: dict[str, float] = defaultdict(float)
    for model in models:
        seconds[model.cost.library or CELLS] += model.cost.seconds
    total = sum(seconds.values()) or 1.0
    workers = [
        library
        for library in sorted(set(seconds) - {CELLS})
        for _ in range(max(1, int(jobs * seconds[library] / total)))
    ]
    rest = CELLS if CELLS in seconds else max(seconds, key=seconds.__getitem__, default=CELLS)
    return (workers + [rest] * jobs)[:jobs]


def hire(libraries: Sequence[str]) -> list[Worker]:
    """Return one running worker for each library, idle ones where they fit; the other idle workers end.

    Any worker fits the library ``""``.
    """
    _allow_files(_FILES * len(libraries))
    hired = []
    with _lock:
        for library in libraries:
            fitting = [worker for worker in _idle if worker.library == library] or _idle[: library == ""]
            for worker in fitting[:1]:
                _idle.remove(worker)
                worker.wake()
            hired += fitting[:1] or [Worker(library)]
    end_idle()
    return hired


def _allow_files(wanted: int) -> None:
    """Raise the limit of open files of this process, if that is possible and necessary."""
    with suppress(ImportError, OSError, ValueError):  # There is no such limit on Windows.
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted += _FILES_OF_OTHERS
        if soft != resource.RLIM_INFINITY and soft < wanted:
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def release(workers: Iterable[Worker]) -> None:
    """Keep workers for the next run, except those that still have work, which end."""
    with ExitStack() as ending:  # Ctrl-C during the end of one does not keep the others.
        for worker in workers:
            if worker.cells:
                ending.callback(worker.end)
            else:
                with _lock:
                    _idle.append(worker)


def end_idle() -> None:
    """End the workers that nothing uses."""
    with ExitStack() as ending, _lock:
        for worker in _idle:
            ending.callback(worker.end)
        _idle.clear()


def libraries_for(cells: Sequence[Cell], task: Task, jobs: int) -> list[str]:
    """Return the library of each worker that will run these cells."""
    names = dict.fromkeys(cell.model for cell in cells)
    return choose_libraries([task.models[name] for name in names], min(jobs, len(cells)))


def start_workers(libraries: Sequence[str]) -> None:
    """Start the workers that will run cells, so they import libraries while the run is prepared."""
    release(hire(libraries))


@contextmanager
def workers_ahead(models: Iterable[ModelSpec], jobs: int) -> Iterator[None]:
    """Start workers before their cells are known, such as while a table is read; end them if that fails.

    A run of at least `jobs` cells of these models uses them. An error ends them, because the command would
    otherwise return only once they have imported their libraries.
    """
    try:
        start_workers(choose_libraries(models, jobs))
        yield
    except BaseException:
        end_idle()
        raise


def run_in_background(function: Callable[..., T], *arguments: Any, jobs: int) -> Callable[[], T]:
    """Start a function in a worker process and return a callable that waits for the result.

    With one job, or if the worker dies, the function runs in this process when the result is requested.
    """
    here = partial(function, *arguments)
    if jobs < 2:
        return here
    workers = hire([""])
    future = workers[0].submit(here)

    def result() -> T:
        try:
            return future.result()
        except BrokenProcessPool:
            return here()
        finally:
            if future.done():
                release(workers)
            else:  # Ctrl-C: the worker still computes.
                workers[0].end()

    return result


def run_in_thread(function: Callable[[], T]) -> Future[T]:
    """Start a function in a thread that neither Ctrl-C nor the end of this process waits for."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # Raised where the result is used.
            future.set_exception(error)

    threading.Thread(target=run, name=function.__name__, daemon=True).start()
    return future


def run_cells(
    cells: Sequence[Cell],
    table: PixelTable,
    task: Task,
    jobs: int,
    limits: Limits = NO_LIMITS,
    on_running: OnRunning | None = None,
) -> Generator[Outcome]:
    """Run cells in about the given order, in `jobs` worker processes, and yield their outcomes.

    A cell that raises an exception or exceeds its limits yields a `CellFailure`. Unless the table is already
    in a file, it is written once to a temporary file, which the workers map into memory.
    """
    if not cells:
        return
    with scratch_folder() as folder:
        path = folder / TABLE_FILE
        with naming_disk(folder):
            pass_table(table, path)
        with closing(finish_cells(LocalPool(path, task, jobs, limits, on_running), cells)) as outcomes:
            yield from outcomes


class LocalPool(Pool):
    """Worker processes on this machine.

    `path` is the table file of `pass_table`; the pid files of running cells are stored next to it.
    """

    lost_with = (BrokenProcessPool,)
    monitor: LimitMonitor

    def __init__(
        self, path: Path, task: Task, jobs: int, limits: Limits, on_running: OnRunning | None = None
    ) -> None:
        from skinmnist.models.spec import FOLD_ROWS  # Reports, which also use workers, import no model.

        self.path, self.task, self.jobs = path, task, jobs
        self.reason = ""
        self.monitor = LimitMonitor(limits, path.parent, on_running)
        self._workers: list[Worker] = []
        share = np.count_nonzero(task.folds[0] != LEFT_OUT) / FOLD_ROWS
        self._expected = {name: model.cost.seconds * share for name, model in task.models.items()}
        self._measured: dict[str, float] = {}
        self._dropped: set[Cell] = set()

    def run(self, cells: Sequence[Cell]) -> Generator[Outcome]:
        """Yield outcomes until all cells are done, except those that may have killed their worker."""
        self._dropped.clear()
        self._workers = hire(libraries_for(cells, self.task, self.jobs))
        try:
            yield from outcomes_of(self, cells)
        finally:
            release(self._workers)
            self._workers = []

    def give(self, waiting: list[Cell], running: int) -> Iterator[tuple[Cell, Future[Outcome]]]:
        """Give each worker a cell, and one more while many wait, so that none is idle when this process is.

        Near the end, the next cell goes to the first worker that is free.
        """
        for most in range(1, 3 if len(waiting) > 2 * len(self._workers) else 2):
            for worker in self._workers:
                cell = self._choose(worker, waiting) if waiting and len(worker.cells) < most else None
                if cell is not None:
                    if self._library(cell) not in (CELLS, worker.library):
                        worker.restart(self._library(cell))
                    waiting.remove(cell)
                    worker.cells.append(cell)
                    given = (cell, str(self.path), self.task, self.monitor.submitted(cell))
                    yield cell, worker.submit(run_cell_from_file, *given, self.monitor.limits.seconds)

    def running(self, given: Sequence[Cell]) -> list[Cell]:
        """Return the cells that workers have, without those that wait behind them."""
        heads = {worker.cells[0] for worker in self._workers if worker.cells}
        return [cell for cell in given if cell in heads]

    def returned(self, cell: Cell, outcome: Outcome | None) -> None:
        """Remove a cell from its worker, and note its time."""
        for worker in self._workers:
            if cell in worker.cells:
                worker.cells.remove(cell)
        if isinstance(outcome, CellResult):  # The first cell of a network compiles functions for the others.
            least = self._measured.get(cell.model, math.inf)
            self._measured[cell.model] = min(least, outcome.timing.seconds)

    def lost(self, cell: Cell, error: Exception, waiting: list[Cell]) -> Outcome | None:
        """Return why a cell was ended; if its worker died for another reason, None.

        A cell that was not running when its worker died waits again, once.
        """
        ended, started = self.monitor.ended.get(cell), self.monitor.has_started(cell)
        self.monitor.finished(cell)
        if ended is not None:
            return CellFailure(cell, ended)
        if not started and cell not in self._dropped:
            self._dropped.add(cell)
            waiting.insert(0, cell)
        codes = re.search(r"exit codes of the workers are \{(.+)\}", str(error))
        how = f" ({codes[1]})" if codes else ""
        self.reason = f"its worker process died{how}: a crash, or out of memory"
        return None

    def _library(self, cell: Cell) -> str:
        return self.task.models[cell.model].cost.library or CELLS

    def _choose(self, worker: Worker, waiting: Sequence[Cell]) -> Cell | None:
        """Return the next cell of a worker; None if others should take the rest.

        A worker with a library takes its cells of the first fold, and then helps with other cells, unless
        those of its library would take longer than these. Where it has no cell left, and it pays, it takes
        one of another library, for which it starts anew.
        """
        rest = [cell for cell in waiting if self._library(cell) == CELLS]
        if worker.library != CELLS:
            own = [cell for cell in waiting if self._library(cell) == worker.library]
            if own and (
                own[0][2:] == waiting[0][2:] or not rest or self._seconds(own) >= self._seconds(rest)
            ):
                return own[0]
        if rest:
            return rest[0]
        others = [cell for cell in waiting if self._library(cell) == self._library(waiting[0])]
        pays = self._seconds(others) >= _WORTH_STARTING
        return waiting[0] if pays and not worker.cells else None

    def _seconds(self, cells: Sequence[Cell]) -> float:
        """Return the expected seconds until cells of one library are done by the workers that have it."""
        workers = sum(worker.library == self._library(cells[0]) for worker in self._workers)
        total = sum(self._measured.get(cell.model, self._expected[cell.model]) for cell in cells)
        return total / workers if workers else math.inf
