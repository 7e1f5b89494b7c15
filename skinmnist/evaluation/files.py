"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, sync it, and rename it into place, then sync the folder."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files for the owner only; results are made to be shared.
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # What went wrong first is what the user must hear of.
            Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_torn(folder: Path, pattern: str) -> None:
    """Remove what `write_atomically` left of files like `pattern` where its process was killed.

    Only for whoever holds the folder: elsewhere a file may be on its way.
    """
    for path in folder.glob(f".{pattern}.*"):
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows has no handle of a folder to sync.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
