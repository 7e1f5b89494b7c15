"""What happens in a worker process: one cell from call to outcome."""

from __future__ import annotations

import faulthandler
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from skinmnist.datasets.mapped import open_passed
from skinmnist.datasets.memory import trim_memory
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Cell, CellFailure, CellResult
from skinmnist.experiment.execution.limits import Note
from skinmnist.experiment.execution.machine import PeakMemory
from skinmnist.experiment.fit_cell import Task, fit_cell
from skinmnist.text import one_line

#: Seconds by which a worker's own alarm comes later than its parent, who can say what happened.
_GRACE = 30.0


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
        outcome = work(cell, _mapped_table(path), task)
    # loky takes a worker that grew by 300 MB for one that leaks and starts another in its place, which
    # imports its libraries and describes the pictures again.
    trim_memory()
    return outcome


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
