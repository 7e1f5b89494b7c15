"""The log of a run, ``run.log``: one JSON object per line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from skinmnist.datasets.files import open_plain
from skinmnist.experiment.cells import CellFailure, CellResult
from skinmnist.text import json_text, one_line

LOG_FILE = "run.log"

#: Logger of all events; ``--verbose`` and user programs can add their own handlers.
LOGGER = logging.getLogger("skinmnist")


def log_event(event: str, **facts: Any) -> None:
    """Log an event, such as ``"cell done"``, with facts that can be written as JSON."""
    LOGGER.info(event, extra={"facts": facts})


def event_facts(record: logging.LogRecord) -> dict[str, Any]:
    """Return the facts of an event."""
    return dict(getattr(record, "facts", {}))


def log_outcome(outcome: CellResult | CellFailure) -> None:
    """Log the outcome of a cell."""
    cell = outcome.cell._asdict()
    if isinstance(outcome, CellFailure):
        log_event("cell failed", **cell, reason=outcome.reason)
    else:
        cost = {name: round(value, 3) for name, value in outcome.timing._asdict().items()}
        log_event("cell done", **cell, **cost, notes=list(outcome.notes))


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Append the events of the ``with`` block to a file.

    A line that cannot be written, for example on a full disk, is skipped because a log must not make a run
    fail. A file that cannot be opened, or that is not a regular file, raises an OSError or InputError.
    """
    handler = _QuietHandler(path, encoding="utf-8")
    handler.setFormatter(_JsonLines())
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    LOGGER.addHandler(handler)
    try:
        yield
    except BaseException as error:
        log_event("run broken", error=one_line(f"{type(error).__name__}: {error}"))
        raise
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        with suppress(OSError):  # Closing the file tries to write the buffer again.
            handler.close()


class _QuietHandler(logging.FileHandler):
    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, opener=open_plain)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Continue without the line."""


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        event = {"time": when, "process": record.process, "event": record.getMessage()}
        return json_text(event | event_facts(record))
