"""What happens in a worker process: one cell from call to outcome, and the end when the parent is gone."""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from skinmnist.datasets.mapped import open_passed
from skinmnist.datasets.table import PixelTable
from skinmnist.evaluation.cells import Cell, CellFailure, CellResult, one_line
from skinmnist.evaluation.fitting import Task, fit_cell
from skinmnist.evaluation.limits import Note, end_processes, process_family
from skinmnist.evaluation.machine import PeakMemory

#: One thread per cell: numerical libraries read these when a worker starts.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)

#: Seconds by which a worker's own alarm comes later than its parent, who can say what happened.
_GRACE = 30.0


def start_worker(libraries: Sequence[str], parent: int) -> None:
    """Prepare a worker process: libraries imported, interruptions left to the parent."""
    # Ctrl-C reaches the whole group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        threading.Thread(target=_leave_with, args=(parent,), name="leave", daemon=True).start()
    for library in libraries:
        importlib.import_module(library)


def _leave_with(parent: int) -> None:
    """End this process, and what it started, when its parent is gone: nobody waits for its cell any more."""
    while os.getppid() == parent:
        time.sleep(0.5)
    family = process_family(os.getpid())
    end_processes(family[1:])
    os._exit(1)


@lru_cache(maxsize=1)
def _mapped_table(path: str) -> PixelTable:
    return open_passed(path)


def work_from_file(
    cell: Cell, path: str, task: Task, note: Path, seconds: float | None
) -> CellResult | CellFailure:
    """Run one cell on a table that lies in a file, which all workers map into their memory.

    Parameters
    ----------
    cell : Cell
    path : str
        As `pass_table` wrote the table.
    task : Task
    note : Path
        Where this process tells that it works on the cell.
    seconds : float or None
        The cell's time limit.
    """
    with Note(note), alarm(None if seconds is None else seconds + _GRACE):
        return work(cell, _mapped_table(path), task)


def work(cell: Cell, table: PixelTable, task: Task) -> CellResult | CellFailure:
    """Run one cell: failures become words, warnings become notes."""
    try:
        with (
            warnings.catch_warnings(record=True) as caught,
            PeakMemory(children=False, interval=0.05) as peak,
        ):
            warnings.simplefilter("always")
            # What libraries tell their programmers is no news about a cell.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            result = fit_cell(cell, table, task)
    # A model of the user's own may raise anything, also what would end the process; its cell says what.
    except BaseException as error:
        return CellFailure.from_error(cell, error)
    told = {one_line(f"{warning.category.__name__}: {warning.message}") for warning in caught}
    return replace(
        result,
        notes=(*result.notes, *sorted(told)),
        timing=result.timing._replace(peak_rss_mb=peak.megabytes),
    )


@contextmanager
def alarm(seconds: float | None) -> Iterator[None]:
    """End this process where the block takes longer, even where it hangs inside of a library's own code.

    `faulthandler`'s clock runs without the interpreter, unlike any thread of Python.
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
