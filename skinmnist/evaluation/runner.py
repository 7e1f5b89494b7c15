"""Cells side by side in worker processes of one thread each; a cell that fails, fails alone."""

from __future__ import annotations

import importlib
import signal
import tempfile
import warnings
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

from joblib.externals.loky import get_reusable_executor

from skinmnist.datasets.mapped import open_passed, pass_table
from skinmnist.datasets.table import PixelTable
from skinmnist.evaluation.cells import Cell, CellFailure, CellResult, one_line
from skinmnist.evaluation.fitting import Task, fit_cell
from skinmnist.evaluation.machine import PeakMemory

#: One thread per cell: numerical libraries read these when a worker starts.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)

_IDLE_SECONDS = 60


def run_cells(
    cells: Sequence[Cell], table: PixelTable, task: Task, jobs: int
) -> Generator[CellResult | CellFailure]:
    """Run cells in the order given and yield what becomes of each, as it is done.

    A cell that raises becomes a `CellFailure`. Where a worker process dies, the cells it may have been
    working on are run again one at a time, so that the one that kills its process is found, and the rest
    go on.

    Parameters
    ----------
    cells : sequence of Cell
    table : PixelTable
        Written to a temporary file once, where it stands in none; the workers map it into their memory.
    task : Task
    jobs : int
        Worker processes.
    """
    if not cells:
        return
    with tempfile.TemporaryDirectory(prefix="skinmnist-") as folder:
        path = Path(folder) / "table.joblib"
        pass_table(table, path)
        left = list(cells)
        while left:
            for outcome in _run_until_broken(tuple(left), path, task, jobs):
                left.remove(outcome.cell)
                yield outcome
            # Only a dead worker leaves cells behind: the first ones had been handed over.
            for cell in left[: 2 * jobs]:
                alone = next(_run_until_broken((cell,), path, task, 1), None)
                left.remove(cell)
                yield alone or CellFailure(cell, "its worker process died (a crash, or out of memory)")


def _run_until_broken(
    cells: Sequence[Cell], path: Path, task: Task, jobs: int
) -> Iterator[CellResult | CellFailure]:
    """Yield outcomes until all are there, or until a worker dies."""
    # Workers outlive a run for a while: the next one in this process finds their libraries imported.
    libraries = sorted({task.models[cell.model].library for cell in cells} - {""})
    executor = get_reusable_executor(
        max_workers=min(jobs, len(cells)),
        timeout=_IDLE_SECONDS,
        initializer=_start_worker,
        initargs=(libraries,),
        env=_ONE_THREAD,
    )
    finished = False
    try:
        yield from _outcomes(executor, cells, path, task, ahead=2 * jobs)
        finished = True
    except BrokenProcessPool:
        pass
    finally:
        if not finished:
            executor.shutdown(wait=True, kill_workers=True)


def _outcomes(
    executor: Executor, cells: Sequence[Cell], path: Path, task: Task, ahead: int
) -> Iterator[CellResult | CellFailure]:
    """Submit cells to any executor, `ahead` of them at a time, and yield outcomes as they come.

    Few are handed over ahead of time: an executor that is stopped has little to give back.
    """
    waiting, running = iter(cells), set[Future[CellResult | CellFailure]]()
    with warnings.catch_warnings():
        # loky replaces a worker whose memory has grown; that is how it should be, and no news.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
        while True:
            for cell in islice(waiting, ahead - len(running)):
                running.add(executor.submit(_work, cell, str(path), task))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _start_worker(libraries: Sequence[str]) -> None:
    # Ctrl-C reaches the whole group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for library in libraries:
        importlib.import_module(library)


@lru_cache(maxsize=1)
def _mapped_table(path: str) -> PixelTable:
    return open_passed(path)


def _work(cell: Cell, path: str, task: Task) -> CellResult | CellFailure:
    """Run one cell in a worker: failures become words, warnings become notes."""
    try:
        with (
            warnings.catch_warnings(record=True) as caught,
            PeakMemory(children=False, interval=0.05) as peak,
        ):
            warnings.simplefilter("always")
            # What libraries tell their programmers is no news about a cell.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            result = fit_cell(cell, _mapped_table(path), task)
    except Exception as error:  # A model of the user's own may raise anything; its cell says what.
        return CellFailure.from_error(cell, error)
    told = {one_line(f"{warning.category.__name__}: {warning.message}") for warning in caught}
    return replace(
        result,
        notes=(*result.notes, *sorted(told)),
        timing=result.timing._replace(peak_rss_mb=peak.megabytes),
    )
