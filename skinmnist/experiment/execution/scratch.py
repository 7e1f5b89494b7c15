"""Temporary folders of runs and their workers; those of killed runs are cleared away by the next."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR

from skinmnist.datasets.owned_folder import LOCK_FILE, Owned, Series, claim, is_marked, leave
from skinmnist.errors import InputError
from skinmnist.experiment.execution.locks import hold_folder, is_abandoned
from skinmnist.experiment.run_folder.file_names import RUN

TABLE_FILE = "table.joblib"
_PREFIX = "skinmnist-"
#: A run of which nothing is kept has its run folder in here.
RUN_FOLDER = "run"
_SCRATCH = Owned(
    "temporary folder",
    (TABLE_FILE, *(f"{RUN_FOLDER}/{name}" for name in (RUN.marker, *RUN.files))),
    (
        Series("", r"note-\d+"),
        *(series._replace(folder=f"{RUN_FOLDER}/{series.folder}") for series in RUN.series),
    ),
    marker=LOCK_FILE,
)
#: Younger folders are left alone: they may be about to be held.
_SECONDS = 60.0


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a temporary folder and remove it at the end; first remove those whose process was killed."""
    _sweep(Path(tempfile.gettempdir()))
    # On Windows nobody can remove a file that a worker still maps.
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name,
        ExitStack() as held,
    ):
        with suppress(InputError):  # The lock is for tidying alone; not every file system has it.
            held.enter_context(hold_folder(Path(name), lambda: None))
        claim(Path(name), _SCRATCH)
        yield Path(name)


def _sweep(folder: Path) -> None:
    with suppress(OSError):  # It may be closed to us.
        for old in folder.iterdir():
            with suppress(OSError, InputError):  # Another run was faster.
                if _is_left_over(old):
                    leave(old, _SCRATCH)


def _is_left_over(folder: Path) -> bool:
    """Tell whether a folder is one of ours, of this user, and its process is gone."""
    # A name of `tempfile`; what is named by a person is hardly ever looked at.
    if not re.fullmatch(_PREFIX + "[a-z0-9_]{8}", folder.name):
        return False
    status = folder.lstat()
    # Windows has no owners, and no locks either: nothing is abandoned there.
    ours = S_ISDIR(status.st_mode) and hasattr(os, "getuid") and status.st_uid == os.getuid()
    return (
        ours
        and time.time() - status.st_mtime > _SECONDS
        and is_marked(folder, _SCRATCH)
        and is_abandoned(folder)
    )
