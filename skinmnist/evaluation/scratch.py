"""Folders for what the workers share while a run lasts; those of killed runs are cleared away by the next."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from skinmnist.errors import InputError
from skinmnist.evaluation.locking import hold_folder, is_abandoned

_PREFIX = "skinmnist-"
#: Younger folders are left alone: they may be about to be held.
_SECONDS = 60.0


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a temporary folder and remove it at the end; first remove those whose process was killed."""
    for old in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # It is somebody else's, or somebody else was faster.
            if time.time() - old.stat().st_mtime > _SECONDS and is_abandoned(old):
                shutil.rmtree(old)
    # On Windows nobody can remove a file that a worker still maps.
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name,
        ExitStack() as held,
    ):
        with suppress(InputError):  # The lock is for tidying alone; not every file system has it.
            held.enter_context(hold_folder(Path(name), lambda: None))
        yield Path(name)
