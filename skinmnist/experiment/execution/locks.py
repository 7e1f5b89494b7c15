"""Locks on run folders and temporary folders; the system releases the locks of killed processes."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR

from filelock import lock_descriptor

from skinmnist.datasets.files import LOCK_FILE, Owned, Series, claim, is_marked, is_plain, leave, open_plain
from skinmnist.errors import InputError
from skinmnist.experiment.run_folder.file_names import RUN

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
