"""What the door `download` shows while files come."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from skinmnist.datasets.fetching import Watcher


class DownloadTerminal:
    """A live bar for each file on a terminal, and nothing elsewhere."""

    def __init__(self) -> None:
        console = Console(stderr=True, soft_wrap=not sys.stderr.isatty(), highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> DownloadTerminal:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def watching(self, name: str) -> Watcher:
        """Return who watches one file come."""
        task = self._bar.add_task(name, total=None)
        return lambda length, total: self._bar.update(task, completed=length, total=total)
