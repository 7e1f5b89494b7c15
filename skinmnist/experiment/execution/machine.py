"""The machine: cores, versions and memory, and time and memory limits of a cell.

Limits are enforced from outside the process of a cell.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import psutil

from skinmnist.datasets.files import write_atomically
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell

PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "imbalanced-learn",
    "joblib",
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "matplotlib",
)
#: Environment variables for single-threaded processes; numerical libraries read them on import.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
#: Called with the running cells whenever they change.
OnRunning = Callable[[Sequence[Cell]], None]
#: Seconds between checks of running cells; a cell can exceed its memory limit between two checks.
_INTERVAL = 0.1
#: Larger limits are rejected because they would overflow system clocks.
_LARGEST = 1e9


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Return the versions of Python and of all installed packages that can affect a score."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def hardware() -> dict[str, Any]:
    """Describe the machine: processor, cores, memory, numerical precision of networks, and system."""
    from skinmnist.models.cnn.backend import choose_precision

    return {
        "cpu": _processor(),
        "cores": available_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "network_precision": choose_precision("auto"),
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


class PeakMemory:
    """Measure the peak memory of a process and its children in the ``with`` block.

    On Linux, this is the sum of proportional set sizes (PSS), which count shared memory once. On other
    systems, it is the sum of resident sizes, which count shared memory in each process. Samples are taken
    every `interval` seconds.
    """

    def __init__(self, children: bool = True, interval: float = 1.0) -> None:
        self.children = children
        self.interval = interval
        self.megabytes = 0.0
        self.measure = "summed PSS" if children and Path("/proc/self/smaps_rollup").exists() else "summed RSS"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample_often, name="peak-memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def _sample_often(self) -> None:
        while not self._stop.wait(self.interval):
            self._sample()

    def _sample(self) -> None:
        self.megabytes = max(self.megabytes, sum(self._sizes()) / 2**20)

    def _sizes(self) -> Iterator[int]:
        this = psutil.Process()
        for process in [this, *this.children(recursive=True)] if self.children else [this]:
            with suppress(psutil.Error):  # The process has just ended.
                pss = self.measure == "summed PSS"
                yield process.memory_full_info().pss if pss else process.memory_info().rss


@dataclass(frozen=True)
class Limits:
    """Time and memory limits for a cell.

    Attributes
    ----------
    seconds : float or None
        Maximum wall time, measured from the start of the cell in its worker; None for no limit.
    megabytes : float or None
        Maximum resident memory of the worker and its child processes, in units of 2**20 bytes; None for no
        limit.

    Raises
    ------
    InputError
        If a limit is not positive or is too large.

    See Also
    --------
    run_comparison : Accepts them as `limits`.

    Examples
    --------
    >>> from skinmnist import Limits
    >>> Limits(seconds=600, megabytes=4096)
    Limits(seconds=600, megabytes=4096)
    >>> bool(Limits())  # No limit.
    False
    """

    seconds: float | None = None
    megabytes: float | None = None

    def __post_init__(self) -> None:
        for value, unit in ((self.seconds, "seconds"), (self.megabytes, "MB")):
            if value is not None and not 0 < value < _LARGEST:
                raise InputError(
                    f"received a limit of {value:g} {unit} for a cell; expected more than 0 and less than "
                    f"{_LARGEST:g}, or leave it out"
                )

    def __bool__(self) -> bool:
        return self.seconds is not None or self.megabytes is not None


NO_LIMITS = Limits()


@contextmanager
def pid_file(path: Path) -> Iterator[None]:
    """Write the id of this process to a file during the block; if the process dies, the file stays."""
    with suppress(OSError):  # If the disk is full, the cell continues without limits.
        write_atomically(path, str(os.getpid()).encode(), lasting=False)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


class Monitor:
    """Follow running cells and report them to `on_running`."""

    #: Seconds between two checks; None if no checks are needed.
    interval: float | None = None

    def __init__(self, on_running: OnRunning | None = None) -> None:
        self._on_running = on_running
        self._occupied: tuple[Cell, ...] = ()

    def occupied(self, cells: Sequence[Cell]) -> None:
        """Receive all cells that have been given to a worker."""
        if self._on_running is not None and tuple(cells) != self._occupied:
            self._occupied = tuple(cells)
            self._on_running(self._occupied)

    def check(self) -> None:
        """Check the running cells."""

    def finished(self, cell: Cell) -> None:
        """Stop tracking a cell that has an outcome."""


class LimitMonitor(Monitor):
    """Find the processes of running cells and end those that exceed their limits.

    The monitor works from outside because a hanging model may block its interpreter, including all threads.
    `folder` contains the `pid_file` of each running cell; `ended` maps each ended cell to the reason.
    """

    def __init__(self, limits: Limits, folder: Path, on_running: OnRunning | None = None) -> None:
        super().__init__(on_running)
        self.limits = limits
        self.folder = folder
        self.ended: dict[Cell, str] = {}
        self._pid_files: dict[Cell, Path] = {}
        self._first_seen: dict[Cell, float] = {}
        self._count = 0
        self.interval = _INTERVAL if limits else None

    def submitted(self, cell: Cell) -> Path:
        """Return the path to which the worker of the cell must write its process id."""
        self._count += 1
        self._pid_files[cell] = self.folder / f"pid-{self._count}"
        return self._pid_files[cell]

    def has_started(self, cell: Cell) -> bool:
        """Return whether the cell is running, or was when its worker died."""
        return self._pid_files[cell].exists()

    def finished(self, cell: Cell) -> None:
        """Stop tracking a cell that has left its worker, and remove the pid file of a dead worker."""
        if path := self._pid_files.pop(cell, None):
            path.unlink(missing_ok=True)
        self._first_seen.pop(cell, None)
        self.ended.pop(cell, None)

    def check(self) -> None:
        """End the processes of cells that exceed their limits."""
        if not self.limits:
            return
        now = time.monotonic()
        for cell, path in self._pid_files.items():
            with suppress(OSError, ValueError, psutil.Error):  # Not started yet, or already ended.
                family = process_family(int(path.read_text(encoding="ascii")))
                reason = self._excess(now - self._first_seen.setdefault(cell, now), family)
                if reason:
                    self.ended.setdefault(cell, reason)
                    family[0].suspend()  # Prevent it from starting new processes in the meantime.
                    end_processes(process_family(family[0].pid))

    def _excess(self, seconds: float, family: list[psutil.Process]) -> str | None:
        if self.limits.seconds is not None and seconds > self.limits.seconds:
            return f"stopped: it took longer than {self.limits.seconds:g} s, the limit of a cell"
        if self.limits.megabytes is not None:
            taken = sum(process.memory_info().rss for process in family) / 2**20
            if taken > self.limits.megabytes:
                return (
                    f"stopped: it used {taken:,.0f} MB of memory, more than {self.limits.megabytes:,g} MB, "
                    "the limit of a cell"
                )
        return None


def process_family(pid: int) -> list[psutil.Process]:
    """Return a process, followed by all its descendants."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def end_processes(family: list[psutil.Process]) -> None:
    """Kill processes, ignoring those that have already ended."""
    for process in family:
        with suppress(psutil.Error):
            process.kill()
