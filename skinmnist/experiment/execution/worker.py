"""Worker processes: start, run one cell, and end."""

from __future__ import annotations

import faulthandler
import gc
import importlib
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from joblib.externals.loky import get_reusable_executor

from skinmnist.datasets.mapped import open_passed, trim_memory
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Cell, CellFailure, CellResult
from skinmnist.experiment.execution.machine import (
    ONE_THREAD,
    PeakMemory,
    end_processes,
    pid_file,
    process_family,
)
from skinmnist.text import one_line

if TYPE_CHECKING:
    from skinmnist.experiment.fit_cell import Task
    from skinmnist.models.cnn.heads import Trunk
    from skinmnist.models.spec import ModelSpec

T = TypeVar("T")
_mapped_table = lru_cache(maxsize=1)(open_passed)
#: Workers outlive a run for a while, so the next run in this process does not import libraries again.
_IDLE_SECONDS = 60
#: Seconds to wait for a cell to reach the workers, which may be busy.
_HANDED_OVER = 10.0
#: Seconds between the parent's limit and the worker's own exit, so the parent can report the reason.
_GRACE = 30.0


def worker_pool(workers: int, libraries: Sequence[str] = (), reuse: bool | str = "auto") -> Executor:
    """Return the loky pool of this process, with single-threaded workers that have imported the libraries."""
    executor: Executor = get_reusable_executor(
        max_workers=workers,
        timeout=_IDLE_SECONDS,
        initializer=start_worker,
        initargs=(libraries, os.getpid()),
        env=ONE_THREAD,
        reuse=reuse,
    )
    return executor


def pool_for(cells: Sequence[Cell], task: Task, jobs: int) -> Executor:
    """Return the workers that run cells, with the libraries of their models."""
    return worker_pool(min(jobs, len(cells)), _libraries(task.models[cell.model] for cell in cells))


def _libraries(models: Iterable[ModelSpec]) -> list[str]:
    return sorted({model.cost.library for model in models} - {""})


def start_pool(cells: Sequence[Cell], task: Task, jobs: int) -> None:
    """Start the workers that will run cells, so they import libraries while the run is prepared."""
    _spawn(pool_for(cells, task, jobs))


@contextmanager
def workers_ahead(models: Iterable[ModelSpec], jobs: int) -> Iterator[None]:
    """Start workers before their cells are known, such as while a table is read; end them if that fails.

    A run of at least `jobs` cells of these models uses them. An error ends them, because the command would
    otherwise return only once they have imported their libraries.
    """
    executor = worker_pool(jobs, _libraries(models))
    try:
        _spawn(executor)
        yield
    except BaseException:
        end_pool(executor)
        raise


def _spawn(executor: Executor) -> None:
    """Start the processes of an executor, which would otherwise start with the first cell.

    Ctrl-C reaches the whole process group. It is ignored meanwhile, and the workers inherit this: they would
    print tracebacks until `start_worker`.
    """
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        with suppress(BrokenProcessPool):  # The engine starts others, and reports why they die.
            executor.submit(os.getpid)
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def end_pool(executor: Executor) -> None:
    """Kill the workers of an executor.

    All submitted work must first have left the parent, in order; otherwise, loky's own thread would look for
    the rest among discarded items and print a KeyError.
    """
    with suppress(RuntimeError):  # The executor is broken or already stopped, so nothing is pending.
        last = executor.submit(os.getpid)
        deadline = time.monotonic() + _HANDED_OVER
        while not (last.running() or last.done()) and time.monotonic() < deadline:
            time.sleep(0.005)
    executor.shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]


def start_worker(libraries: Sequence[str], parent: int) -> None:
    """Prepare a worker process: import libraries and let the parent handle interrupts."""
    # Ctrl-C reaches the whole process group; only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        threading.Thread(target=_end_with, args=(parent,), name="end-with-parent", daemon=True).start()
    import_frozen(libraries)


def _end_with(parent: int) -> None:
    """End this process and its children when the parent ends, because nothing waits for the cell any more."""
    while os.getppid() == parent:
        time.sleep(0.5)
    end_processes(process_family(os.getpid())[1:])
    os._exit(1)


def import_frozen(libraries: Sequence[str]) -> None:
    """Import libraries and exempt their objects from garbage collection.

    TensorFlow creates 650,000 objects on import, none of which ever becomes garbage. Repeated scans of these
    objects take a sixth of the import time, and more time later.
    """
    gc.disable()
    try:
        for library in libraries:
            importlib.import_module(library)
        gc.freeze()
    finally:
        gc.enable()


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause garbage collection, for short work that creates many lasting objects, such as drawing figures."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def run_in_background(function: Callable[..., T], *arguments: Any, jobs: int) -> Callable[[], T]:
    """Start a function in a worker process and return a callable that waits for the result.

    With one job, or if the worker dies, the function runs in this process when the result is requested.
    """
    here = partial(function, *arguments)
    if jobs < 2:
        return here
    try:
        # Keep one worker that has run cells, with its imported libraries; the others end.
        future = worker_pool(1, reuse=True).submit(here)
    except BrokenProcessPool:
        return here

    def result() -> T:
        try:
            return future.result()
        except BrokenProcessPool:
            return here()

    return result


def run_cell_from_file(
    cell: Cell, path: str, task: Task, pid_path: Path, seconds: float | None
) -> CellResult | CellFailure:
    """Run one cell on the table in a file (see `pass_table`) that all workers map into memory."""
    with pid_file(pid_path), end_after(None if seconds is None else seconds + _GRACE):
        outcome = run_cell(cell, _mapped_table(path), task)
    # loky assumes that a worker that grew by 300 MB leaks memory and replaces it; the new worker must import
    # its libraries and extract the features again.
    trim_memory()
    return outcome


def run_cell(cell: Cell, table: PixelTable, task: Task) -> CellResult | CellFailure:
    """Run one cell and its followers; errors become a `CellFailure`, and warnings become notes."""
    from skinmnist.models.cnn.heads import Trunk  # Workers that only draw figures do not import models.

    others = task.followers.get(cell, ())
    trunk = Trunk() if others else None
    outcome = _run_alone(cell, table, task, trunk)
    if trunk is None or not trunk.trained:
        return outcome
    followers = tuple(_run_alone(other, table, task, trunk) for other in others)
    return replace(outcome, followers=followers)


def _run_alone(cell: Cell, table: PixelTable, task: Task, trunk: Trunk | None) -> CellResult | CellFailure:
    from skinmnist.experiment.fit_cell import fit_cell

    try:
        with (
            warnings.catch_warnings(record=True) as caught,
            PeakMemory(children=False, interval=0.05) as peak,
        ):
            warnings.simplefilter("always")
            # Deprecation warnings are meant for developers of libraries.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            result = fit_cell(cell, table, task, trunk)
    # User-defined models may raise any exception, including those that would end the process.
    except BaseException as error:
        return CellFailure.from_error(cell, error)
    notes = {one_line(f"{warning.category.__name__}: {warning.message}") for warning in caught}
    return replace(
        result,
        notes=(*result.notes, *sorted(notes)),
        timing=result.timing._replace(peak_rss_mb=peak.megabytes),
    )


@contextmanager
def end_after(seconds: float | None) -> Iterator[None]:
    """End this process if the block takes too long, even if it hangs in the native code of a library.

    Unlike a Python thread, the timer of `faulthandler` does not depend on the interpreter.
    """
    if seconds is None:
        yield
        return
    with Path(os.devnull).open("w", encoding="ascii") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
