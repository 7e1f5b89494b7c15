"""The bar of every door that takes its time: live on a terminal, still elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress, ProgressColumn


class LiveBar:
    """A bar on standard error that is shown while the block lasts, and only where somebody watches.

    Parameters
    ----------
    *columns : str or ProgressColumn
        What stands beside each other.
    """

    def __init__(self, *columns: str | ProgressColumn) -> None:
        self.console = Console(stderr=True, soft_wrap=not sys.stderr.isatty(), highlight=False)
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
