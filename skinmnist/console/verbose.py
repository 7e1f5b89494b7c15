"""``--verbose``: what ``run.log`` gets, on the terminal as well."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from skinmnist.console.live import Output
from skinmnist.experiment.execution.log import LOGGER, facts_of


@contextmanager
def verbosely(console: Output, wanted: bool) -> Iterator[None]:
    """Print every event of the ``with`` block as one line, where that is wanted."""
    if not wanted:
        yield
        return
    handler = _Lines(console)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)


class _Lines(logging.Handler):
    def __init__(self, console: Output) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one event."""
        when = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        facts = " ".join(f"{name}={value}" for name, value in facts_of(record).items() if value != [])
        self.console.print(f"{when} {record.getMessage()}: {facts}")
