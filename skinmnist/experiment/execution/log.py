"""The log of a run: one JSON object a line in ``run.log``, for whoever asks later what happened when."""

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

#: What a run does goes through here; ``--verbose`` and programs of the user's own listen as well.
LOGGER = logging.getLogger("skinmnist")


def tell(event: str, **facts: Any) -> None:
    """Log one event, such as ``"cell done"``, and what is known of it, in values that JSON can hold."""
    LOGGER.info(event, extra={"facts": facts})


def log_outcome(outcome: CellResult | CellFailure) -> None:
    """Log what became of a cell."""
    cell = outcome.cell._asdict()
    if isinstance(outcome, CellFailure):
        tell("cell failed", **cell, reason=outcome.reason)
        return
    price = {name: round(value, 3) for name, value in outcome.timing._asdict().items()}
    tell("cell done", **cell, **price, notes=list(outcome.notes))


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what `tell` was told, from the record that a listener of the logger gets."""
    return dict(getattr(record, "facts", {}))


@contextmanager
def journal(path: Path) -> Iterator[None]:
    """Append the events of the ``with`` block to a file.

    A line that cannot be written, as on a full disk, is left out: a log fails no run.

    Raises
    ------
    OSError, InputError
        Where the file cannot be opened, or is none.
    """
    handler = _Quietly(path, encoding="utf-8")
    handler.setFormatter(_JsonLines())
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    LOGGER.addHandler(handler)
    try:
        yield
    except BaseException as error:
        tell("run broken", error=one_line(f"{type(error).__name__}: {error}"))
        raise
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        with suppress(OSError):  # What could not be written before is tried once more.
            handler.close()


class _Quietly(logging.FileHandler):
    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, opener=open_plain)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Go on without the line."""


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return one line: when, which process, what, and its facts."""
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        line = {"time": when, "process": record.process, "event": record.getMessage(), **facts_of(record)}
        return json_text(line)
