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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from joblib.externals.loky import process_executor

from skinmnist.datasets.mapped import open_passed, trim_memory
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Cell, CellFailure, CellResult
from skinmnist.experiment.execution.machine import (
    PeakMemory,
    end_processes,
    pid_file,
    process_family,
)
from skinmnist.text import one_line

if TYPE_CHECKING:
    from skinmnist.experiment.fit_cell import Task
    from skinmnist.models.cnn.heads import Trunk

_mapped_table = lru_cache(maxsize=1)(open_passed)
#: The module that runs a cell; it imports scikit-learn. It is the library of models that name none.
CELLS = "skinmnist.experiment.fit_cell"
#: Bytes by which a worker may grow before loky takes it for one that leaks memory, and replaces it.
_LEAK = 1 << 30
#: Seconds between the parent's limit and the worker's own exit, so the parent can report the reason.
_GRACE = 30.0


def start_worker(library: str, parent: int) -> None:
    """Prepare a worker process: import a module, if one is named, and let the parent handle interrupts."""
    # Ctrl-C reaches the whole process group; only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        threading.Thread(target=_end_with, args=(parent,), name="end-with-parent", daemon=True).start()
    # By default, these are 300 MB, but the maps of a large table and its features take more.
    process_executor._MAX_MEMORY_LEAK_SIZE = _LEAK
    import_frozen([library] if library else [])


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
    """Pause garbage collection, for short work that creates many lasting objects, such as drawing figures.

    Afterwards, these objects belong to the oldest generation, because a look at all of them takes half a
    second. Objects that `import_frozen` has exempted stay so, and then the look is taken.
    """
    before, exempt = gc.isenabled(), gc.get_freeze_count()
    gc.disable()
    try:
        yield
    finally:
        if before:
            if not exempt:
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def run_cell_from_file(
    cell: Cell, path: str, task: Task, pid_path: Path, seconds: float | None
) -> CellResult | CellFailure:
    """Run one cell on the table in a file (see `pass_table`) that all workers map into memory."""
    with pid_file(pid_path), end_after(None if seconds is None else seconds + _GRACE):
        outcome = run_cell(cell, _mapped_table(path), task)
    # loky replaces workers that seem to leak memory; a new worker must import its libraries again.
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
