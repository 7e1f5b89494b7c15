"""The folder of a run: the names of its files, its lock and its log; temporary folders are locked alike.

The system releases the locks of killed processes. The log, ``run.log``, has one JSON object per line.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from stat import S_IFDIR, S_ISDIR
from typing import Any

from filelock import lock_descriptor

from skinmnist.datasets.files import (
    LOCK_FILE,
    Owned,
    Series,
    claim,
    file_type,
    is_marked,
    is_plain,
    leave,
    members,
    open_plain,
)
from skinmnist.errors import InputError
from skinmnist.experiment.cells import CellFailure, CellResult
from skinmnist.text import json_text, one_line

_CELL_NAME, _CELL_HEAD = r".+-r\d+-f\d+-[0-9a-f]{16}\.cell", "[0-9a-f]{64}PK"
#: Files of a leak demonstration.
LEAK_FILES = Owned(
    "demonstration of leaks",
    files=("leaks.csv", "leaks/leaks.json"),
    series=(Series("leaks/*", _CELL_NAME, _CELL_HEAD),),
)
#: Files of a report, in the run folder or elsewhere.
REPORT_FILE = "report.html"
REPORT = Owned(
    "report",
    files=(
        REPORT_FILE,
        "comparisons.csv",
        "intervals.csv",
        "difference_intervals.csv",
        "derived_scores.csv",
        "operating_points.csv",
        "tradeoff.csv",
        "subgroups.csv",
        "label_audit.csv",
        "shares.csv",
        "conformal.csv",
        "external.csv",
    ),
    series=(Series("medmnist_results", r"[\w-]+_test_\[AUC\][\d.]+_\[ACC\][\d.]+@[\w-]+\.csv", r"0,"),),
)
RUN = Owned(
    "run folder",
    files=(
        "run.json",
        "run.log",
        *REPORT.files,
        "predictions.csv.gz",
        "validation_predictions.csv.gz",
        "class_mix.csv",
        "scores.csv",
        "timings.csv",
        "pictures.npz",
        "mistakes.npz",
        "lesions.npz",
        "patients.npz",
        "claims.csv",
        "published/preset.json",
        "published/augmented.npz",
        *LEAK_FILES.files,
    ),
    series=(
        *REPORT.series,
        Series("cells", _CELL_NAME, _CELL_HEAD),
        Series("published", _CELL_NAME, _CELL_HEAD),
        *LEAK_FILES.series,
    ),
    marker=f"cells/{LOCK_FILE}",
)
_OF_A_RUN = {"skinmnist", "identity", "protocol", "grid", "cells"}


def is_unmarked_run(folder: Path) -> bool:
    """Return whether a folder without a marker is an older run folder, based on ``run.json`` or its cells."""
    path = folder / "run.json"
    try:
        info = json.loads(path.read_bytes()) if is_plain(path) else None
    except (OSError, ValueError, RecursionError):
        return False
    if info is None:
        return _holds_only_cells(folder)
    return isinstance(info, dict) and info.keys() >= _OF_A_RUN


def _holds_only_cells(folder: Path) -> bool:
    """Return whether a folder contains only the cells of a run."""
    cells = folder / "cells"
    if file_type(cells) != S_IFDIR or any(
        file_type(folder / name) for name in {*RUN.files, *RUN.folders} - {"cells"}
    ):
        return False
    return set(cells.iterdir()) - {cells / LOCK_FILE} == set(members(folder, RUN.series[1]))


@contextmanager
def naming_folder(folder: Path) -> Iterator[None]:
    """Turn errors of the system into an InputError that names the run folder, or the file in its place."""
    try:
        yield
    except (FileExistsError, NotADirectoryError):
        file = next((path for path in (folder, *folder.parents) if path.is_file()), folder)
        raise InputError(f"{file} is a file; expected a folder for the run, so name one with --out") from None
    except OSError as error:
        raise InputError(
            f"the folder {folder} is not writable ({error.strerror}); name another one with --out"
        ) from None


TABLE_FILE = "table.joblib"
#: Name of the run folder that a run without an `out` folder creates inside a temporary folder.
RUN_FOLDER = "run"
_PREFIX = "skinmnist-"
#: Dask puts empty lock files here, and one folder per process, which contains the startup code of a worker.
_DASK_FOLDER = "dask-scratch-space"
_SCRATCH = Owned(
    "temporary folder",
    (TABLE_FILE, *(f"{RUN_FOLDER}/{name}" for name in (RUN.marker, *RUN.files))),
    (
        Series("", r"pid-\d+"),
        Series(_DASK_FOLDER, r"(?:global|purge)\.lock|[a-z]+-[a-z0-9_]{8}\.dirlock", "$"),
        Series(f"{_DASK_FOLDER}/*", r"tmp[a-z0-9_]{8}\.py", "import signal; "),
        *(series._replace(folder=f"{RUN_FOLDER}/{series.folder}") for series in RUN.series),
    ),
    marker=LOCK_FILE,
)
#: Younger folders are kept because they may not be locked yet.
_YOUNG_SECONDS = 60.0


@contextmanager
def hold_folder(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Lock a folder for the duration of the ``with`` block; other processes wait until it is released.

    The lock belongs to the open file, so it is released when the process ends for any reason; the file itself
    stays. `waiting` is called once if another process has the lock. Raises InputError if the file system does
    not support locks, or if the lock file is a link, a folder or a pipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Child processes do not inherit files that Python opens.
    with open(folder / LOCK_FILE, "ab", opener=open_plain) as file:
        try:
            if not lock_descriptor(file.fileno(), blocking=False):
                waiting()
                lock_descriptor(file.fileno())
        except OSError as error:
            raise InputError(
                f"the folder {folder} cannot be locked ({error.strerror}), so two runs at once would "
                "interfere there; name a folder on another disk"
            ) from None
        yield


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create a temporary folder and remove it at the end; first remove folders left by killed processes."""
    _sweep(Path(tempfile.gettempdir()))
    # On Windows, a file that is still mapped by a worker cannot be removed.
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name,
        ExitStack() as held,
    ):
        claim(Path(name), _SCRATCH)
        with suppress(InputError):  # The lock only serves cleanup; not every file system has locks.
            held.enter_context(hold_folder(Path(name), lambda: None))
        yield Path(name)


def _sweep(folder: Path) -> None:
    with suppress(OSError):  # This user may not have access to the folder.
        for old in folder.iterdir():
            with suppress(OSError, InputError):  # Another run may already have removed it.
                if _is_left_over(old):
                    leave(old, _SCRATCH)


def _is_left_over(folder: Path) -> bool:
    """Return whether a folder is a temporary folder of this user whose process has ended."""
    # This is the name format of `tempfile`; other folders are ignored.
    if not re.fullmatch(_PREFIX + "[a-z0-9_]{8}", folder.name):
        return False
    status = folder.lstat()
    return (
        S_ISDIR(status.st_mode)
        and hasattr(os, "getuid")  # Windows has no file owners; there, the system cleans up.
        and status.st_uid == os.getuid()
        and time.time() - status.st_mtime > _YOUNG_SECONDS
        and is_marked(folder, _SCRATCH)
        and _is_unlocked(folder / LOCK_FILE)
    )


def _is_unlocked(lock: Path) -> bool:
    if not is_plain(lock):
        return False
    with open(lock, "rb", opener=open_plain) as file:
        return lock_descriptor(file.fileno(), blocking=False)


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
