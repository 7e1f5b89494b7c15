"""How many worker processes there can be, how one starts, and that it ends when its parent is gone."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import threading
import time
from collections.abc import Sequence

from skinmnist.experiment.execution.limits import end_processes, process_family

#: One thread per cell: numerical libraries read these when a worker starts.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


def available_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start_worker(libraries: Sequence[str], parent: int) -> None:
    """Prepare a worker process: libraries imported, interruptions left to the parent."""
    # Ctrl-C reaches the whole group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        threading.Thread(target=_leave_with, args=(parent,), name="leave", daemon=True).start()
    import_for_good(libraries)


def import_for_good(libraries: Sequence[str]) -> None:
    """Import libraries whose objects the garbage collector never looks through again.

    TensorFlow makes 650,000 objects as it is imported, and none of them is ever garbage: to look through
    them again and again takes a sixth of its import, and some of what comes after.

    Parameters
    ----------
    libraries : sequence of str
        Names of modules.

    Raises
    ------
    ImportError
        Where one cannot be imported; the collector works on.
    """
    gc.disable()
    try:
        for library in libraries:
            importlib.import_module(library)
        gc.freeze()
    finally:
        gc.enable()


def _leave_with(parent: int) -> None:
    """End this process, and what it started, when its parent is gone: nobody waits for its cell any more."""
    while os.getppid() == parent:
        time.sleep(0.5)
    family = process_family(os.getpid())
    end_processes(family[1:])
    os._exit(1)
