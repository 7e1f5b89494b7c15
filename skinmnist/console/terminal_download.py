"""What the door `download` shows while files come."""

from __future__ import annotations

from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

from skinmnist.console.live import LiveBar
from skinmnist.datasets.download.fetch import Watcher
from skinmnist.text import printable


class DownloadTerminal(LiveBar):
    """A live bar for each file on a terminal, and nothing elsewhere."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
        )

    def watching(self, name: str) -> Watcher:
        """Return who watches one file come."""
        task = self._bar.add_task(printable(name), total=None)
        return lambda length, total: self._bar.update(task, completed=length, total=total)
