"""How long a cell may take and how much memory; whoever takes more is ended from outside."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from skinmnist.datasets.files import write_atomically
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell

#: Seconds between two looks at running cells: a cell may take as much memory again as it gets in that time.
_INTERVAL = 0.1
#: Seconds or MB from which on a limit is none; the system's clocks take no more.
_MOST = 1e9


@dataclass(frozen=True)
class Limits:
    """What one cell may take at most.

    Attributes
    ----------
    seconds : float or None
        Wall seconds from the cell's start in its worker; None: any.
    megabytes : float or None
        Resident size, in MB of 2**20 bytes, of the worker and the processes that it started; None: any.

    Raises
    ------
    InputError
        For limits that are not above 0, or beyond any machine.
    """

    seconds: float | None = None
    megabytes: float | None = None

    def __post_init__(self) -> None:
        for value, what in ((self.seconds, "seconds"), (self.megabytes, "MB")):
            if value is not None and not 0 < value < _MOST:
                raise InputError(
                    f"received a limit of {value:g} {what} for a cell; expected more than 0 and less than "
                    f"{_MOST:g}, or leave it out"
                )

    def __bool__(self) -> bool:
        return self.seconds is not None or self.megabytes is not None


NO_LIMITS = Limits()


class Note:
    """A worker's word that a cell is running in it: a file that is there from start to end.

    Where the process dies, the note stays and tells which cell it was working on.

    Parameters
    ----------
    path : Path
        Its content will be the number of the process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        with contextlib.suppress(OSError):  # On a full disk the cell goes on; only the limits are lost.
            write_atomically(self.path, str(os.getpid()).encode(), lasting=False)

    def __exit__(self, *ignored: object) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()


class Watch:
    """Look at running cells from the outside and end those beyond their limits.

    From outside, for a model that hangs may hold its interpreter, so that no thread of its own process runs.

    Parameters
    ----------
    limits : Limits
    folder : Path
        Where the workers leave their notes.

    Attributes
    ----------
    ended : dict of Cell to str
        The cells that were ended, and why.
    """

    def __init__(self, limits: Limits, folder: Path) -> None:
        self.limits = limits
        self.folder = folder
        self.ended: dict[Cell, str] = {}
        self._notes: dict[Cell, Path] = {}
        self._seen: dict[Cell, float] = {}
        self._number = 0

    @property
    def interval(self) -> float | None:
        """Seconds between two looks; None where nothing is limited and nobody needs to look."""
        return _INTERVAL if self.limits else None

    def expect(self, cell: Cell) -> Path:
        """Return where the worker that gets this cell shall leave its note."""
        self._number += 1
        self._notes[cell] = self.folder / f"note-{self._number}"
        return self._notes[cell]

    def finished(self, cell: Cell) -> None:
        """Look no more at a cell that has its outcome."""
        for known in (self._notes, self._seen, self.ended):
            known.pop(cell, None)

    def running(self) -> list[Cell]:
        """Return the cells that were started and not finished."""
        return [cell for cell, path in self._notes.items() if path.exists()]

    def forget(self) -> None:
        """Remove the notes of workers that are gone."""
        for path in self._notes.values():
            path.unlink(missing_ok=True)
        self._notes.clear()
        self._seen.clear()

    def look(self) -> None:
        """End the processes of cells beyond their limits."""
        if not self.limits:
            return
        now = time.monotonic()
        for cell, path in self._notes.items():
            with contextlib.suppress(
                OSError, ValueError, psutil.Error
            ):  # It is not running, or not any more.
                family = process_family(int(path.read_text(encoding="ascii")))
                reason = self._beyond(now - self._seen.setdefault(cell, now), family)
                if reason:
                    self.ended.setdefault(cell, reason)
                    family[0].suspend()  # So that it starts nothing more while what it started is listed.
                    end_processes(process_family(family[0].pid))

    def _beyond(self, seconds: float, family: list[psutil.Process]) -> str | None:
        """Say which limit a cell is beyond, if any."""
        if self.limits.seconds is not None and seconds > self.limits.seconds:
            return f"ended: it took longer than {self.limits.seconds:g} s, the limit of a cell"
        if self.limits.megabytes is not None:
            taken = sum(process.memory_info().rss for process in family) / 2**20
            if taken > self.limits.megabytes:
                return (
                    f"ended: it took {taken:,.0f} MB of memory, more than {self.limits.megabytes:,g} MB, "
                    "the limit of a cell"
                )
        return None


def process_family(pid: int) -> list[psutil.Process]:
    """Return a process and all that it started, itself first."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def end_processes(family: list[psutil.Process]) -> None:
    """Kill processes; those that are gone already do not matter."""
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()
