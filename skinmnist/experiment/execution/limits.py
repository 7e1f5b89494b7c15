"""Time and memory limits for a cell, enforced from outside its process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from skinmnist.datasets.files import write_atomically
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell

#: Called with the running cells whenever they change.
OnRunning = Callable[[Sequence[Cell]], None]
#: Seconds between checks of running cells; a cell can exceed its memory limit between two checks.
_INTERVAL = 0.1
#: Larger limits are rejected because they would overflow system clocks.
_LARGEST = 1e9


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

    def finished(self, cell: Cell) -> None:
        """Stop tracking a cell that has an outcome."""
        for known in (self._pid_files, self._first_seen, self.ended):
            known.pop(cell, None)

    def running(self) -> list[Cell]:
        """Return the cells that have started but not finished."""
        return [cell for cell, path in self._pid_files.items() if path.exists()]

    def clear(self) -> None:
        """Remove the pid files of dead workers."""
        for path in self._pid_files.values():
            path.unlink(missing_ok=True)
        self._pid_files.clear()
        self._first_seen.clear()

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
