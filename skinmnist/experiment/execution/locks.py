"""One run at a time in a folder: a lock that the system takes back from whoever dies."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from skinmnist.datasets.files import is_plain, open_plain
from skinmnist.datasets.owned_folder import LOCK_FILE
from skinmnist.errors import InputError

if sys.platform != "win32":
    import fcntl


@contextmanager
def hold_folder(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a folder while in the ``with`` block; a second holder waits until the first is gone.

    The lock is the system's (``flock``): it belongs to the open file and ends with the process, however that
    dies, so that nothing stale is ever left. The empty file stays. On Windows, which has no ``flock``,
    nothing is locked.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    waiting : callable
        Called once where somebody else holds the folder, before waiting for it.

    Raises
    ------
    InputError
        Where the file system knows no locks, or something else than a plain file stands at the lock's name.
    OSError
        Where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    # Opened in Python, the file is closed in every process that is started from here.
    with open(folder / LOCK_FILE, "ab", opener=open_plain) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise InputError(
                f"the folder {folder} cannot be locked ({error.strerror}); two runs at once would disturb "
                "each other there, so name a folder on another disk"
            ) from None
        yield


def is_abandoned(folder: Path) -> bool:
    """Tell whether a folder was held by somebody who is gone; False where that cannot be known.

    Raises
    ------
    OSError
        Where the folder cannot be looked at.
    """
    if sys.platform == "win32" or not is_plain(folder / LOCK_FILE):
        return False
    with open(folder / LOCK_FILE, "rb", opener=open_plain) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
