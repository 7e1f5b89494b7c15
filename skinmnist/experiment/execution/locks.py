"""One run at a time in a folder, and temporary folders; the system takes locks back from killed processes."""

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
#: A run without a folder of its own has its run folder in a temporary folder, under this name.
RUN_FOLDER = "run"
_PREFIX = "skinmnist-"
#: Where Dask puts empty locks, and a folder for each process; in a worker's is the code that it begins with.
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
#: Younger folders are left alone: they may be about to be locked.
_YOUNG_SECONDS = 60.0


@contextmanager
def hold_folder(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a folder while in the ``with`` block; a second holder waits until the first is gone.

    The lock belongs to the open file and ends with the process, however that dies. The file stays. `waiting`
    is called once if another process holds the folder. InputError where the file system has no locks, or a
    link, a folder or a pipe stands at the lock's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A file that Python opens is closed in every process that is started from here.
    with open(folder / LOCK_FILE, "ab", opener=open_plain) as file:
        try:
            if not lock_descriptor(file.fileno(), blocking=False):
                waiting()
                lock_descriptor(file.fileno())
        except OSError as error:
            raise InputError(
                f"the folder {folder} cannot be locked ({error.strerror}); two runs at once would disturb "
                "each other there, so name a folder on another disk"
            ) from None
        yield


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a temporary folder and remove it at the end; first remove those whose process was killed."""
    _sweep(Path(tempfile.gettempdir()))
    # On Windows nobody can remove a file that a worker still maps.
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name,
        ExitStack() as held,
    ):
        claim(Path(name), _SCRATCH)
        with suppress(InputError):  # The lock only serves to tidy up; not every file system has it.
            held.enter_context(hold_folder(Path(name), lambda: None))
        yield Path(name)


def _sweep(folder: Path) -> None:
    with suppress(OSError):  # The folder may be closed to this user.
        for old in folder.iterdir():
            with suppress(OSError, InputError):  # Another run may have been faster.
                if _is_left_over(old):
                    leave(old, _SCRATCH)


def _is_left_over(folder: Path) -> bool:
    """Return whether a folder is a temporary folder of this user whose process is gone."""
    # A name of `tempfile`; other folders are not looked at.
    if not re.fullmatch(_PREFIX + "[a-z0-9_]{8}", folder.name):
        return False
    status = folder.lstat()
    return (
        S_ISDIR(status.st_mode)
        and hasattr(os, "getuid")  # Windows has no owners: there, folders are left to the system.
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
