"""What doors write with: a console for texts from anywhere, and a bar for whatever takes its time."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import Progress, ProgressColumn

from skinmnist.text import printable


class Output(Console):
    """A console on which every text stands as it is: no markup, no emoji codes, no orders to the terminal.

    Its reader may leave early: whoever has read enough does not make a run fail.
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
    """A bar on standard error that is shown while the block lasts, and only where somebody watches.

    Parameters
    ----------
    *columns : str or ProgressColumn
        What stands beside each other.
    """

    def __init__(self, *columns: str | ProgressColumn) -> None:
        self.console = Output(stderr=True, soft_wrap=not sys.stderr.isatty())
        self._bar = Progress(*columns, console=self.console, disable=not self.console.is_terminal)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
