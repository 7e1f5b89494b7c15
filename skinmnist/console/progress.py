"""Output on a terminal, live bars, and the progress of `build` and `download`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from skinmnist.text import printable

#: Without a terminal, a build prints a line for every tenth of the pictures.
_LINES = 10


class Output(Console):
    """A console on which every text stands as it is: no markup, no emoji codes, no escape sequences.

    A reader that closes the pipe early does not make a run fail.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print texts, made printable, and whatever else rich can draw."""
        super().print(*(printable(one) if isinstance(one, str) else one for one in objects), **options)

    def on_broken_pipe(self) -> None:
        """Write the rest nowhere."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class LiveBar:
    """A bar on standard error, shown while the block lasts and only on a terminal."""

    def __init__(self, *columns: ProgressColumn) -> None:
        self.console = Output(stderr=True, soft_wrap=not sys.stderr.isatty())
        description = TextColumn("{task.description}", markup=False)
        hidden = not self.console.is_terminal
        self._bar = Progress(description, BarColumn(), *columns, console=self.console, disable=hidden)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bar.stop()


class DownloadTerminal(LiveBar):
    """A live bar for each file on a terminal, and nothing elsewhere."""

    def __init__(self) -> None:
        super().__init__(DownloadColumn(), TimeRemainingColumn())

    def progress_of(self, name: str) -> Callable[[int, int | None], None]:
        """Return a callable that takes the bytes so far, and in all, of one file."""
        task = self._bar.add_task(printable(name), total=None)
        return lambda length, total: self._bar.update(task, completed=length, total=total)


class BuildTerminal(LiveBar):
    """A live bar on a terminal, plain lines elsewhere; the `Progress` of a build."""

    def __init__(self) -> None:
        super().__init__(MofNCompleteColumn(), TimeRemainingColumn())
        self._task = self._bar.add_task("pictures", total=None)
        self._total = self._printed = 0

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        super().__exit__(kind)
        if kind is KeyboardInterrupt:
            self.console.print("Interrupted; what was read is kept. Type the same command again to go on.")

    def started(self, total: int, stored: int) -> None:
        """Show how much there is to do."""
        self._total, self._printed = total, stored
        if stored:
            self.console.print(f"{stored:,} of them read before")
        self._bar.update(self._task, total=total, completed=stored)

    def advanced(self, done: int) -> None:
        """Show how much is done."""
        self._bar.update(self._task, completed=done)
        if not self.console.is_terminal and (done - self._printed) * _LINES >= self._total:
            self._printed = done
            self.console.print(f"[{done}/{self._total}] pictures read")
